"""The embedded demo: simulated MRI studies written as real DICOM."""
