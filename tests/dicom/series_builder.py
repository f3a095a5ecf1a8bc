"""Hand-made MR series: right in every respect, for a test to break one."""

from __future__ import annotations

import hashlib
import struct
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.sequence import Sequence
from pydicom.uid import EnhancedMRImageStorage, ExplicitVRLittleEndian, MRImageStorage

AXIAL = (1.0, 0.0, 0.0, 0.0, 1.0, 0.0)
CORONAL = (1.0, 0.0, 0.0, 0.0, 0.0, -1.0)
SAGITTAL = (0.0, 1.0, 0.0, 0.0, 0.0, -1.0)
OBLIQUE = (0.96, 0.28, 0.0, -0.224, 0.768, 0.6)
ROWS, COLUMNS = 32, 40
SPACING_MM = (0.9, 0.8)
STEP_MM = 3.0
FIRST_MM = (-50.0, -60.0, -20.0)

TIMINGS = {"FLAIR": (9000.0, 120.0, 2400.0), "T1": (500.0, 12.0, None), "T2": (4500.0, 100.0, None)}
IDENTIFIERS = ("DOE^JANE", "MRN-4711", "19470309", "20210617", "Saint Elsewhere")


def uid(*parts: object) -> str:
    digest = hashlib.sha256("/".join(map(str, parts)).encode()).digest()
    return f"2.25.{int.from_bytes(digest[:16], 'big')}"


def values(name: str, slices: int) -> Any:
    """What `slices` slices of a series hold: uint16 (D, ROWS, COLUMNS), each value below 4096."""
    seed = int.from_bytes(hashlib.sha256(name.encode()).digest()[:4], "big")
    return np.random.default_rng(seed).integers(0, 4096, (slices, ROWS, COLUMNS), dtype=np.uint16)


def position(index: int, orientation: Iterable[float] = AXIAL, step_mm: float = STEP_MM) -> list[float]:
    row, column = np.reshape(list(orientation), (2, 3))
    return [round(float(x), 6) for x in np.array(FIRST_MM) + np.cross(row, column) * step_mm * index]


def classic(
    name: str = "a", slices: int = 10, contrast: str = "FLAIR", patient: str | None = None, **changes: Any
) -> list[Dataset]:
    """Datasets of a classic series in slice order; `changes` are set on each, `orientation` and `step_mm` move them."""
    orientation, step_mm = changes.pop("orientation", AXIAL), changes.pop("step_mm", STEP_MM)
    pixels, made = values(name, slices), []
    for index in range(slices):
        ds = _common(name, patient, index, MRImageStorage)
        ds.ImageType = ["ORIGINAL", "PRIMARY", "OTHER"]
        tr, te, ti = TIMINGS[contrast]
        ds.ScanningSequence, ds.SequenceVariant = (["SE", "IR"] if ti else "SE"), "SK"
        ds.RepetitionTime, ds.EchoTime, ds.InversionTime = tr, te, ti
        ds.ImageOrientationPatient = list(orientation)
        ds.ImagePositionPatient = position(index, orientation, step_mm)
        ds.PixelSpacing = list(SPACING_MM)
        # Against the geometry: who sorts by this is wrong.
        ds.InstanceNumber = (index * 7) % slices + 1
        ds.PixelData = pixels[index].tobytes()
        for keyword, value in changes.items():
            setattr(ds, keyword, value)
        made.append(ds)
    return made


def enhanced(
    name: str = "e",
    slices: int = 10,
    contrast: str = "FLAIR",
    patient: str | None = None,
    order: Iterable[int] | None = None,
) -> Dataset:
    """An enhanced multi-frame file; frame k holds the slice `order[k]`, by default from the last to the first."""
    order = list(reversed(range(slices)) if order is None else order)
    ds = _common(name, patient, 0, EnhancedMRImageStorage)
    ds.ImageType, ds.NumberOfFrames = ["ORIGINAL", "PRIMARY", "VOLUME", "NONE"], len(order)
    ds.EchoPulseSequence, ds.EchoPlanarPulseSequence = "SPIN", "NO"
    tr, te, ti = TIMINGS[contrast]
    ds.SharedFunctionalGroupsSequence = [
        item(
            PixelMeasuresSequence=[item(PixelSpacing=list(SPACING_MM), SliceThickness=STEP_MM)],
            PlaneOrientationSequence=[item(ImageOrientationPatient=list(AXIAL))],
            MRImageFrameTypeSequence=[item(FrameType=list(ds.ImageType), ComplexImageComponent="MAGNITUDE")],
            MRTimingAndRelatedParametersSequence=[item(RepetitionTime=tr, FlipAngle=90)],
            MREchoSequence=[item(EffectiveEchoTime=te)],
            MRModifierSequence=[
                item(InversionRecovery="YES" if ti else "NO", **({"InversionTimes": [ti]} if ti else {}))
            ],
        )
    ]
    ds.PerFrameFunctionalGroupsSequence = [
        item(
            PlanePositionSequence=[item(ImagePositionPatient=position(index))],
            FrameContentSequence=[item(InStackPositionNumber=index + 1, StackID="1")],
            PixelValueTransformationSequence=[item(RescaleSlope=1 + index, RescaleIntercept=-index, RescaleType="US")],
        )
        for index in order
    ]
    ds.PixelData = values(name, slices)[order].tobytes()
    return ds


def several(changes: list[dict[str, Any]], by_slice: bool = False, slices: int = 6) -> list[Dataset]:
    """A classic series of one volume for each item of `changes`, with pixels of its own; InstanceNumber goes on."""
    made = []
    for number, change in enumerate(changes):
        for index, ds in enumerate(classic(f"volume {number}", slices)):
            for keyword, value in change.items():
                setattr(ds, keyword, value)
            ds.InstanceNumber = index * len(changes) + number if by_slice else number * slices + index
            made.append(ds)
    for ds in made:
        ds.SeriesInstanceUID, ds.StudyInstanceUID, ds.FrameOfReferenceUID = uid("series"), uid("study"), uid("frame")
    return made


def pixels(number: int, slices: int = 6) -> Any:
    """What volume `number` of `several` holds."""
    return values(f"volume {number}", slices)


def mosaic(
    name: str = "m",
    slices: int = 7,
    orientation: Iterable[float] = AXIAL,
    sign: int = 1,
    csa_header: bool | None = True,
) -> Dataset:
    """A Siemens mosaic whose tile k is slice k of `values(name, slices)`, along the normal times `sign`.

    The CSA header is in the newer layout, in the older (False) or not there (None).
    """
    grid = int(np.ceil(np.sqrt(slices)))
    [ds] = classic(name, 1, orientation=orientation)
    ds.ImageType = ["ORIGINAL", "PRIMARY", "M", "ND", "MOSAIC"]
    ds.Rows, ds.Columns, ds.SpacingBetweenSlices = ROWS * grid, COLUMNS * grid, STEP_MM
    picture = np.zeros((grid, ROWS, grid, COLUMNS), np.uint16)
    for tile, plane in enumerate(values(name, slices)):
        picture[tile // grid, :, tile % grid] = plane
    ds.PixelData = picture.tobytes()
    row, column = np.reshape(list(orientation), (2, 3))
    corner = np.array(FIRST_MM) - row * SPACING_MM[1] * COLUMNS * (grid - 1) / 2
    corner -= column * SPACING_MM[0] * ROWS * (grid - 1) / 2
    ds.ImagePositionPatient = [round(float(x), 6) for x in corner]
    if csa_header is not None:
        normal = [f"{x:.8f}" for x in sign * np.cross(row, column)]
        content = csa({"NumberOfImagesInMosaic": [str(slices)], "SliceNormalVector": normal}, csa_header)
        ds.private_block(0x0029, "SIEMENS CSA HEADER", create=True).add_new(0x10, "OB", content)
    return ds


def csa(elements: dict[str, list[str]], new: bool) -> bytes:
    """A CSA header of these elements, in the layout that begins with SV10 or in the one before."""
    out = (b"SV10\4\3\2\1" if new else b"") + struct.pack("<2I", len(elements), 77)
    first = len(next(iter(elements.values())))
    for name, texts in elements.items():
        out += struct.pack("<64s i 4s i i i", name.encode(), len(texts), b"DS", 6, len(texts), 77)
        for text in texts:
            content = text.encode() + b"\0"
            length = len(content)
            out += struct.pack("<4i", *((length, length, 77, length) if new else (length + first, 0, 0, 0)))
            out += content.ljust((length + 3) // 4 * 4, b"\0")
    return out


def item(**elements: Any) -> Dataset:
    ds = Dataset()
    for keyword, value in elements.items():
        items = isinstance(value, list) and isinstance(value[0], Dataset)
        setattr(ds, keyword, Sequence(value) if items else value)
    return ds


def _common(name: str, patient: str | None, index: int, sop_class: str) -> Dataset:
    ds = Dataset()
    ds.file_meta = FileMetaDataset()
    ds.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    ds.SOPClassUID, ds.SOPInstanceUID = sop_class, uid(name, "instance", index)
    ds.StudyInstanceUID, ds.SeriesInstanceUID = uid(name, "study"), uid(name, "series")
    ds.FrameOfReferenceUID, ds.Modality = uid(name, "frame"), "MR"
    ds.PatientName, ds.PatientID, ds.PatientBirthDate, ds.StudyDate, ds.InstitutionName = IDENTIFIERS
    ds.PatientID = patient or ds.PatientID
    ds.PatientSex, ds.PatientAge = "F", "074Y"
    ds.Manufacturer, ds.MagneticFieldStrength = "SIEMENS", 3
    ds.SamplesPerPixel, ds.PhotometricInterpretation = 1, "MONOCHROME2"
    ds.Rows, ds.Columns = ROWS, COLUMNS
    ds.BitsAllocated, ds.BitsStored, ds.HighBit, ds.PixelRepresentation = 16, 12, 11, 0
    return ds


def save(datasets: Iterable[Dataset], folder: Path, salt: str = "") -> Path:
    """Write the files under names that tell nothing, and give the folder back."""
    folder.mkdir(parents=True, exist_ok=True)
    for count, ds in enumerate(datasets):
        path = folder / hashlib.sha256(f"{salt}{count}{ds.SOPInstanceUID}".encode()).hexdigest()[:12]
        ds.save_as(path, enforce_file_format=True)
    return folder
