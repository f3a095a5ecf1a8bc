"""A study that was answered: from what, whose it is, and the UIDs of what is said of it.

Equal answers of equal images by one release, run alike by one version of the box, have equal UIDs: a result that is
sent twice is one object in an archive. What results say of patient and study is in the UIDs, too: where that was
corrected, there are other objects.
"""

from __future__ import annotations

import hashlib
import uuid
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

from pydicom.dataelem import DataElement
from pydicom.dataset import Dataset
from pydicom.uid import UID
from pydicom.valuerep import DA, TM

from pipeline import __version__
from pipeline.contract import Manifest
from pipeline.inference.predict import Prediction

#: Of type 2 in the modules of patient and study.
_EMPTY_OR_NOT = (
    *("PatientName", "PatientID", "PatientBirthDate", "PatientSex"),
    *("StudyDate", "StudyTime", "ReferringPhysicianName", "StudyID", "AccessionNumber"),
)
#: Of the patient is all of this group.
_PATIENT = 0x0010
#: The rest of the modules of patient and study (PS3.3, C.7.1.1 to C.7.2.2), and what refers to an image.
_COPIED = (
    *("StudyDate", "StudyTime", "AccessionNumber", "IssuerOfAccessionNumberSequence", "StudyDescription"),
    *("ReferringPhysicianName", "ReferringPhysicianIdentificationSequence"),
    *("ConsultingPhysicianName", "ConsultingPhysicianIdentificationSequence"),
    *("PhysiciansOfRecord", "PhysiciansOfRecordIdentificationSequence"),
    *("NameOfPhysiciansReadingStudy", "PhysiciansReadingStudyIdentificationSequence"),
    *("ProcedureCodeSequence", "AdmittingDiagnosesDescription", "AdmittingDiagnosesCodeSequence"),
    *("ReferencedStudySequence", "ReferencedPatientSequence", "StudyID"),
    *("SOPClassUID", "SOPInstanceUID", "StudyInstanceUID", "SeriesInstanceUID"),
)
#: What results say of each image.
_OF_IMAGES = ("SOPInstanceUID", "SOPClassUID", "SeriesInstanceUID", "SeriesNumber", "InstanceNumber")
#: Values that highdicom reads.
_TIMES = {"DA": DA, "TM": TM}


@dataclass(frozen=True)
class Answered:
    """One answered study.

    Attributes:
        images: data sets of what it was answered from, with or without pixels; all of one study. Of the first is what
            results say of patient and study.
        predictions: the answers.
        manifest: of the release.
        release_sha256: of its SHA256SUMS.
        backend: what ran, in words.
    """

    images: Sequence[Dataset]
    predictions: Sequence[Prediction]
    manifest: Manifest
    release_sha256: str
    backend: str

    @cached_property
    def sha256(self) -> bytes:
        """Of what answered, the answers, and what is said of the images; their pixels count by the answers alone."""
        known = hashlib.sha256(repr((self.release_sha256, self.backend, __version__)).encode())
        for image in sorted(repr([str(each.get(name)) for name in _OF_IMAGES]) for each in self.images):
            known.update(image.encode())
        known.update(repr(character_set(self)).encode())
        for element in complete(self.images[0]).iterall():
            known.update(repr((element.tag, element.VR, element.value)).encode())
        for each in self.predictions:
            known.update(repr(each).encode())
        return known.digest()


def uid(answered: Answered, *parts: str) -> UID:
    """Under 2.25 (PS3.5, annex B.2): of what was answered by what, of which images, whose they are, and the parts."""
    known = hashlib.sha256(answered.sha256)
    for part in parts:
        known.update(part.encode())
    return UID(f"2.25.{uuid.UUID(bytes=known.digest()[:16], version=5).int}")


def character_set(answered: Answered) -> str | Sequence[str]:
    """Of the images, so that names keep their bytes; UTF-8 where they say none."""
    found: str | Sequence[str] = answered.images[0].get("SpecificCharacterSet", "ISO_IR 192")
    return found


def complete(image: Dataset) -> Dataset:
    """Of an image what results may copy and refer to, and nothing else, so that all of it is in their UIDs.

    Every attribute of patient and study that may be empty but not missing is there (PS3.3, tables C.7-1 and C.7-3).
    Without its character set, of which highdicom takes none whose first value is empty, as Japanese ones are.
    """
    made = Dataset()
    made.update({each.tag: each for each in image if each.tag.group == _PATIENT or each.keyword in _COPIED})
    for keyword in _EMPTY_OR_NOT:
        if keyword not in made or not _valid(made[keyword]):
            setattr(made, keyword, None)
    return made


def _valid(element: DataElement) -> bool:
    """Whether highdicom takes it: of a birth date that is none, nothing is said."""
    try:
        return element.VR not in _TIMES or not element.value or bool(_TIMES[element.VR](str(element.value)))
    except ValueError:
        return False
