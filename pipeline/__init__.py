"""From a folder of DICOM MRI scans to a validated TensorRT engine; `docs/architecture.md` is the map."""

__version__ = "0.1.0"
