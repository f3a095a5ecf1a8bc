"""Attributes that every file of the demo has: patient, study, series, equipment (PS3.3, sections C.7)."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.uid import ExplicitVRLittleEndian

from pipeline.demo.cohort import Patient

#: Every study is of this day: equal seeds give equal bytes.
DATE, TIME = "20240115", "093000"
ROOT = "2.25"


def uid(*parts: object) -> str:
    """A UID under 2.25 (PS3.5, B.2) that depends on nothing but the parts."""
    digest = hashlib.sha256("/".join(map(str, parts)).encode()).digest()
    return f"{ROOT}.{int.from_bytes(digest[:16], 'big')}"


@dataclass(frozen=True)
class Series:
    """One series of one patient: what its files share.

    Attributes:
        seed: of the demo; every UID hangs on it.
        patient: whose it is.
        number: SeriesNumber.
        name: tells the patient's series apart; never written.
        description: SeriesDescription.
    """

    seed: int
    patient: Patient
    number: int
    name: str
    description: str

    @property
    def study_uid(self) -> str:
        """StudyInstanceUID."""
        return uid(self.seed, self.patient.patient_id, "study")

    @property
    def series_uid(self) -> str:
        """SeriesInstanceUID."""
        return uid(self.seed, self.patient.patient_id, "series", self.name)

    def instance_uid(self, number: int) -> str:
        """SOPInstanceUID of the file with this number."""
        return uid(self.seed, self.patient.patient_id, "instance", self.name, number)

    def other_uid(self, what: str) -> str:
        """A UID of something else that the series refers to."""
        return uid(self.seed, self.patient.patient_id, what)


def dataset(series: Series, sop_class: str, instance: int, modality: str = "MR") -> Dataset:
    """A data set with its file meta information and everything that is not about the picture."""
    ds = Dataset()
    ds.file_meta = FileMetaDataset()
    ds.file_meta.MediaStorageSOPClassUID = ds.SOPClassUID = sop_class
    ds.file_meta.MediaStorageSOPInstanceUID = ds.SOPInstanceUID = series.instance_uid(instance)
    ds.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    _patient_and_study(ds, series)
    _series_and_equipment(ds, series, modality)
    ds.InstanceNumber = instance
    ds.ContentDate, ds.ContentTime = DATE, TIME
    return ds


def _patient_and_study(ds: Dataset, series: Series) -> None:
    patient = series.patient
    ds.PatientName = f"Simulated^{patient.patient_id.title()}"
    ds.PatientID = patient.patient_id
    ds.PatientSex, ds.PatientAge = patient.sex, f"{patient.age_years:03d}Y"
    ds.PatientBirthDate = f"{int(DATE[:4]) - patient.age_years}0101"
    ds.PatientWeight = "75"
    ds.StudyInstanceUID = series.study_uid
    ds.StudyID, ds.AccessionNumber = str(patient.number), f"SIM{patient.number:05d}"
    ds.StudyDate = ds.SeriesDate = DATE
    ds.StudyTime = ds.SeriesTime = TIME
    ds.ReferringPhysicianName, ds.StudyDescription = "", "Simulated head"


def _series_and_equipment(ds: Dataset, series: Series, modality: str) -> None:
    scanner = series.patient.scanner
    ds.Modality, ds.SeriesInstanceUID, ds.SeriesNumber = modality, series.series_uid, series.number
    ds.SeriesDescription, ds.ProtocolName = series.description, series.description
    ds.BodyPartExamined, ds.PatientPosition = "HEAD", "HFS"
    ds.FrameOfReferenceUID, ds.PositionReferenceIndicator = series.other_uid("frame"), ""
    ds.Manufacturer, ds.ManufacturerModelName = scanner.manufacturer, scanner.model
    ds.InstitutionName = f"Hospital {scanner.site.title()}"
    ds.DeviceSerialNumber, ds.SoftwareVersions = f"{scanner.site}-1", scanner.software


def pixels(ds: Dataset, stored: npt.NDArray[np.uint16]) -> None:
    """Image Pixel (C.7.6.3) of a grey picture (H, W) or several (D, H, W), 12 of 16 bits used."""
    ds.SamplesPerPixel, ds.PhotometricInterpretation = 1, "MONOCHROME2"
    ds.Rows, ds.Columns = stored.shape[-2:]
    ds.BitsAllocated, ds.BitsStored, ds.HighBit, ds.PixelRepresentation = 16, 12, 11, 0
    ds.PixelData = np.ascontiguousarray(stored, dtype="<u2").tobytes()


def code(value: str, scheme: str, meaning: str) -> Dataset:
    """An item of a code sequence (PS3.3, 8.8)."""
    item = Dataset()
    item.CodeValue, item.CodingSchemeDesignator, item.CodeMeaning = value, scheme, meaning
    return item


def orientation(affine_lps: npt.NDArray[np.float64]) -> list[float]:
    """ImageOrientationPatient: along a row (column index grows), then down a column."""
    column, row = (affine_lps[:3, axis] / np.linalg.norm(affine_lps[:3, axis]) for axis in (0, 1))
    return [round(float(value), 8) for value in (*column, *row)]


def position(affine_lps: npt.NDArray[np.float64], index: int) -> list[float]:
    """ImagePositionPatient of slice `index`."""
    return [round(float(value), 5) for value in affine_lps[:3, 3] + index * affine_lps[:3, 2]]


def spacing(affine_lps: npt.NDArray[np.float64]) -> tuple[float, float, float]:
    """Between slices, between rows, between columns, in mm, as written."""
    column, row, slice_ = (round(float(value), 5) for value in np.linalg.norm(affine_lps[:3, :3], axis=0))
    return slice_, row, column
