"""Simulated series for the benchmark of ingest: sizes and encodings, under headers as long as a scanner's."""

from __future__ import annotations

import hashlib
from pathlib import Path

import numpy as np
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.uid import ExplicitVRLittleEndian, JPEG2000Lossless, MRImageStorage

#: Private elements of each file, beside 75 of the standard: scanners' own files hold 70 to 430 elements in all.
PRIVATE = 80
SLOPE, INTERCEPT = 2, -5
STEP_MM = 3.0


def make(folder: Path, size: int, series: int, slices: int, compressed: bool) -> list[Path]:
    """Write `series` axial series of `slices` files of size², and give their folders back."""
    folders = []
    for number in range(series):
        name = f"{size}-{compressed}-{number}"
        target = folder / name
        target.mkdir(parents=True)
        for index, pixels in enumerate(anatomy(size, slices, number)):
            ds = dataset(name, index, pixels)
            if compressed:
                ds.compress(JPEG2000Lossless, generate_instance_uid=False)
            ds.save_as(target / f"{uid(name, index)}.dcm", enforce_file_format=True)
        folders.append(target)
    return folders


def anatomy(size: int, slices: int, seed: int) -> np.ndarray:
    """12-bit values (slices, size, size) of smooth tissue in air, with noise: they shrink as MR images do."""
    rng = np.random.default_rng([20240611, size, seed])
    y, x = np.mgrid[-1 : 1 : size * 1j, -1 : 1 : size * 1j]
    head = x**2 / 0.5 + y**2 / 0.7 < 1
    volume = np.empty((slices, size, size), np.uint16)
    for index in range(slices):
        tissue = 900 + 500 * np.sin(7 * x + index / 5) * np.cos(5 * y - index / 7)
        volume[index] = np.abs(np.where(head, tissue, 0) + rng.normal(0, 15, x.shape))
    return volume


def dataset(name: str, index: int, pixels: np.ndarray) -> Dataset:
    ds = Dataset()
    ds.file_meta = FileMetaDataset()
    ds.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    ds.SpecificCharacterSet, ds.ImageType = "ISO_IR 100", ["ORIGINAL", "PRIMARY", "M", "ND"]
    ds.SOPClassUID, ds.SOPInstanceUID = MRImageStorage, uid(name, "instance", index)
    ds.StudyInstanceUID, ds.SeriesInstanceUID = uid(name, "study"), uid(name, "series")
    ds.FrameOfReferenceUID, ds.Modality = uid(name, "frame"), "MR"
    for day in ("StudyDate", "SeriesDate", "AcquisitionDate", "ContentDate", "InstanceCreationDate"):
        setattr(ds, day, "20240611")
    ds.StudyTime = ds.SeriesTime = "120300"
    for time in ("AcquisitionTime", "ContentTime", "InstanceCreationTime"):
        setattr(ds, time, f"1203{index % 60:02}.250000")
    ds.Manufacturer, ds.ManufacturerModelName, ds.SoftwareVersions = "Simulated", "Benchmark", "1"
    ds.AccessionNumber, ds.ReferringPhysicianName, ds.InstitutionName = "A1", "NOBODY", "NOWHERE"
    ds.StationName, ds.StudyDescription, ds.SeriesDescription = "MR1", "Brain", "t2_flair_tra"
    ds.PatientName, ds.PatientID, ds.PatientBirthDate = f"SIM^{name}", name, "19500101"
    ds.PatientSex, ds.PatientAge, ds.PatientWeight, ds.PatientPosition = "F", "074Y", 70, "HFS"
    ds.BodyPartExamined, ds.ScanningSequence, ds.SequenceVariant, ds.ScanOptions = "BRAIN", ["SE", "IR"], "SK", "FS"
    ds.MRAcquisitionType, ds.SequenceName, ds.AngioFlag, ds.ProtocolName = "2D", "*tir2d1", "N", "t2_flair_tra"
    ds.SliceThickness, ds.SpacingBetweenSlices, ds.RepetitionTime, ds.EchoTime, ds.InversionTime = 3, 3, 9000, 120, 2500
    ds.NumberOfAverages, ds.ImagingFrequency, ds.ImagedNucleus, ds.EchoNumbers, ds.FlipAngle = 1, 123.2, "1H", 1, 90
    ds.MagneticFieldStrength, ds.PixelBandwidth, ds.EchoTrainLength = 3, 200, 16
    ds.StudyID, ds.SeriesNumber, ds.AcquisitionNumber, ds.InstanceNumber = "1", 1 + sum(name.encode()), 1, index + 1
    ds.ImageOrientationPatient, ds.ImagePositionPatient = [1, 0, 0, 0, 1, 0], [-115, -120, -30 + STEP_MM * index]
    ds.SliceLocation, ds.PixelSpacing = -30 + STEP_MM * index, [0.9, 0.9]
    ds.SamplesPerPixel, ds.PhotometricInterpretation = 1, "MONOCHROME2"
    ds.Rows, ds.Columns = pixels.shape
    ds.BitsAllocated, ds.BitsStored, ds.HighBit, ds.PixelRepresentation = 16, 12, 11, 0
    ds.WindowCenter, ds.WindowWidth, ds.RescaleSlope, ds.RescaleIntercept = 900, 1800, SLOPE, INTERCEPT
    block = ds.private_block(0x0071, "BENCHMARK", create=True)
    for element in range(PRIVATE):
        block.add_new(element, "DS" if element % 2 else "LO", str(element * index % 977) if element % 2 else "value")
    ds.PixelData = pixels.tobytes()
    return ds


def uid(*parts: object) -> str:
    digest = hashlib.sha256("/".join(map(str, parts)).encode()).digest()
    return f"2.25.{int.from_bytes(digest[:15], 'big')}"
