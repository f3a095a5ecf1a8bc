"""A study's answers as one picture: Secondary Capture (PS3.3, A.8.1), which any viewer shows.

One frame of RGB, uncompressed: archives that take no multi-frame capture, and viewers that hang words over no overlay
plane, show it all the same. Nothing in its pixels names the patient. Equal answers have equal UIDs, as reports do.
"""

from __future__ import annotations

import io
from collections.abc import Sequence

import numpy as np
from highdicom.base import SOPClass
from pydicom.uid import ExplicitVRLittleEndian, SecondaryCaptureImageStorage

from deploy.box.answered import Answered, character_set, complete, uid
from deploy.box.report import MANUFACTURER, NOTICE, SERIES_NUMBER
from deploy.box.summary_page import Picture as Picture
from deploy.box.summary_page import drawn
from pipeline import __version__


def encoded(answered: Answered, pictures: Sequence[Picture]) -> bytes:
    """The summary as a file (PS3.10)."""
    file = io.BytesIO()
    secondary_capture(answered, pictures).save_as(file, enforce_file_format=True)
    return file.getvalue()


def secondary_capture(answered: Answered, pictures: Sequence[Picture]) -> SOPClass:
    """The summary, in a series of its own.

    Args:
        answered: the study.
        pictures: its key slices, the first first; with none it shows words alone.
    """
    source = complete(answered.images[0])
    made = SOPClass(
        study_instance_uid=source.StudyInstanceUID,
        series_instance_uid=uid(answered, "SC series"),
        series_number=SERIES_NUMBER + 1,
        sop_instance_uid=uid(answered, "SC"),
        sop_class_uid=SecondaryCaptureImageStorage,
        instance_number=1,
        modality="OT",
        manufacturer=MANUFACTURER,
        manufacturer_model_name=answered.manifest.name[:64],
        software_versions=f"{answered.manifest.version} ({__version__})",
        device_serial_number=answered.release_sha256[:16],
        series_description=NOTICE,
        transfer_syntax_uid=ExplicitVRLittleEndian,
    )
    made.copy_patient_and_study_information(source)
    made.SpecificCharacterSet = character_set(answered)
    made.ConversionType = "WSD"
    made.ImageType = ["DERIVED", "SECONDARY", "OTHER"]
    made.ImageComments = f"{NOTICE}. UNVERIFIED: nobody has looked at it."
    made.BurnedInAnnotation = "NO"
    made.PatientOrientation = made.Laterality = None
    page = np.asarray(drawn(answered, pictures))
    made.Rows, made.Columns, made.SamplesPerPixel = page.shape
    made.PhotometricInterpretation, made.PlanarConfiguration = "RGB", 0
    made.BitsAllocated = made.BitsStored = 8
    made.HighBit, made.PixelRepresentation = 7, 0
    made.PixelData = page.tobytes()
    return made
