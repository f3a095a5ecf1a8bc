"""Results of studies, small, as they are sent."""

from __future__ import annotations

from io import BytesIO

import numpy as np
from pydicom.uid import Comprehensive3DSRStorage, SecondaryCaptureImageStorage

from deploy.box.destinations import Destination, Kind
from tests.deploy.box.conftest import instance

CLASSES = {"sr": Comprehensive3DSRStorage, "sc": SecondaryCaptureImageStorage}


def result(number: int, kind: Kind = "sc", size: int = 8) -> bytes:
    """A file of PS3.10 whose UIDs tell its number and kind; `size` makes it long."""
    made = instance(number, study=number, SOPClassUID=CLASSES[kind])
    made.SOPInstanceUID = made.file_meta.MediaStorageSOPInstanceUID = f"1.2.4.{number}.{len(kind) + (kind == 'sc')}"
    made.SeriesInstanceUID = f"{made.SOPInstanceUID}.0"
    made.Rows = made.Columns = size
    made.PixelData = np.zeros((size, size), np.uint16).tobytes()
    file = BytesIO()
    made.save_as(file, enforce_file_format=True)
    return file.getvalue()


def destination(name: str = "pacs", port: int = 104, timeout_s: float = 5.0, **changes: object) -> Destination:
    """A C-STORE SCP on this machine that is tried again at once."""
    dicom = {"ae_title": "PACS", "calling_ae_title": "MRIBOX", "address": "127.0.0.1", "port": port}
    dicom |= {"timeout_s": timeout_s}
    retry = {"first_s": 0.01, "longest_s": 0.05, "tries": 3}
    return Destination.model_validate({"name": name, "dicom": dicom, "retry": retry} | changes)
