"""Headers of DICOM files, and what of them the pipeline keeps in memory: no names, no private text."""

from __future__ import annotations

import re
import warnings
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from pydicom import dcmread
from pydicom.tag import Tag
from pydicom.uid import (
    EnhancedMRColorImageStorage,
    EnhancedMRImageStorage,
    LegacyConvertedEnhancedMRImageStorage,
    MediaStorageDirectoryStorage,
    MRImageStorage,
)

from pipeline.dicom import frames, functional_groups, mosaic, plain_header, plain_pixels, source
from pipeline.dicom.frames import Frame
from pipeline.dicom.patient import age_years
from pipeline.dicom.plain_pixels import PlainPixels
from pipeline.dicom.reasons import Rejection
from pipeline.dicom.siblings import Siblings
from pipeline.dicom.values import DAMAGED, number, tolerant, words
from pipeline.dicom.vendor import vendor
from pipeline.dicom.walk import Doubtful
from pipeline.files import walk

ENHANCED = {EnhancedMRImageStorage, LegacyConvertedEnhancedMRImageStorage, EnhancedMRColorImageStorage}

#: Without the `DICM` mark, a data set begins with group 0008 or the file meta group 0002 (little endian, PS3.5 7.1).
_FIRST_GROUPS = (b"\x08\x00", b"\x02\x00")

#: What a zip is refused by, where its files cannot be read instead.
_ZIP = "unreadable_archive"

_TAGS = [
    *("SOPClassUID", "SOPInstanceUID", "SeriesInstanceUID", "StudyInstanceUID", "PatientID", "FrameOfReferenceUID"),
    *("Modality", "Rows", "Columns", "SamplesPerPixel", "PhotometricInterpretation", "NumberOfFrames"),
    *("Manufacturer", "MagneticFieldStrength", "PatientSex", "PatientAge", "PatientBirthDate", "StudyDate"),
    *("BurnedInAnnotation", "SeriesDate", "SeriesTime", "SeriesNumber"),
    *frames.TAGS,
    *functional_groups.TAGS,
    *mosaic.TAGS,
]
#: Made once: the parser would make them again for every file.
_SPECIFIC_TAGS = [Tag(tag) for tag in _TAGS]
_PLAIN_TAGS = frozenset({*map(int, _SPECIFIC_TAGS), *plain_pixels.TAGS, 0x00080005})  # SpecificCharacterSet

_siblings = Siblings()


@dataclass(frozen=True)
class Instance:
    """One DICOM file, without its pixels.

    Attributes:
        path: where it lies; identifying, as are the four UIDs, `patient_id` and `start`.
        refusal: a key of `reasons.REASONS` when it is no MR image, else None.
        annotated: BurnedInAnnotation says anything but NO.
        inverted: the least value is white (MONOCHROME1).
        shape: rows, columns; of a tile where the picture is a mosaic.
        frames: its image planes; one for a classic file that is no mosaic.
        tiled: whether the frames are tiles of one picture.
        age_years: years, capped; None where unknown.
        start: of the series: SeriesDate and SeriesTime, which sort as text, and SeriesNumber; empty, -1 where missing.
        pixels: where the pixels stand in a file that can be read without the parser; None in any other.
    """

    path: Path = field(repr=False)
    refusal: str | None
    sop_uid: str = field(repr=False)
    series_uid: str = field(repr=False)
    study_uid: str = field(repr=False)
    patient_id: str = field(repr=False)
    frame_of_reference_uid: str = field(repr=False)
    annotated: bool = False
    grey: bool = False
    inverted: bool = False
    shape: tuple[int, int] = (0, 0)
    manufacturer: str = ""
    field_strength_t: float | None = None
    sex: str = ""
    age_years: int | None = None
    frames: tuple[Frame, ...] = ()
    tiled: bool = False
    start: tuple[str, float] = field(default=("", -1.0), repr=False)
    pixels: PlainPixels | None = field(default=None, repr=False, compare=False)


def find_files(folder: Path) -> list[Path]:
    """The files below a folder, as `files.walk` finds them, in the order of their paths."""
    return sorted(map(Path, walk(folder)))


def read_headers(paths: list[Path]) -> list[Instance | Rejection]:
    """The header of each file and of each in a zip, or why it is refused; `Rejection.source` is the path as given.

    Pixels are not read. Warnings of the parser are dropped: they quote values, which may identify the patient.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return [header for path in paths for header in _headers_of(path)]


def _headers_of(path: Path) -> list[Instance | Rejection]:
    """The header of a file, or those of the files in a zip; an archive in an archive is refused."""
    header = _read_header(path)
    if isinstance(header, Instance) or header.reason != _ZIP or not path.is_file():
        return [header]
    try:
        return [_read_header(member) for member in source.members(path)]
    except (source.UnpackError, OSError):
        return [header]


def _read_header(path: Path) -> Instance | Rejection:
    return _read_plainly(path) or _read_by_parser(path)


def _read_plainly(path: Path) -> Instance | Rejection | None:
    """The same as of the parser, only sooner; None where there is any doubt of that."""
    try:
        file = plain_header.read(path, _PLAIN_TAGS)
        if file is None:
            return None
        if sibling := _siblings.find(path, file):
            return sibling
        found = _instance(path, file.header, file.meta, file)
        if isinstance(found, Instance):
            _siblings.add(file, found)
        return found
    except (Doubtful, MemoryError, *DAMAGED):
        return None


def _read_by_parser(path: Path) -> Instance | Rejection:
    try:
        with source.opened(path) as handle:
            start = handle.read(132)
            if source.is_zip(start):
                return Rejection(str(path), _ZIP)
            if start[128:] != b"DICM" and not start.startswith(_FIRST_GROUPS):
                return Rejection(str(path), "not_dicom")
            handle.seek(0)
            dataset = dcmread(handle, stop_before_pixels=True, force=True, specific_tags=_SPECIFIC_TAGS)
            if start[128:] != b"DICM" and not (dataset.get("SOPClassUID") and dataset.get("Modality")):
                return Rejection(str(path), "not_dicom")
            return _instance(path, dataset, dataset.file_meta)
    except source.UnpackError:
        return Rejection(str(path), "unreadable_archive")
    except DAMAGED:
        return Rejection(str(path), "not_dicom")
    except MemoryError:
        return Rejection(str(path), "too_large")
    except OSError as error:
        # pydicom, too, raises OSError on damaged bytes, but without the system's number.
        return Rejection(str(path), "not_dicom" if error.errno is None else "unreadable_file")


def _instance(path: Path, dataset: Any, meta: Any, plain: plain_header.File | None = None) -> Instance | Rejection:
    """Keep what is needed of a header."""
    sop_class = dataset.get("SOPClassUID") or meta.get("MediaStorageSOPClassUID")
    if not sop_class:
        return Rejection(str(path), "not_dicom")
    instance = Instance(
        path,
        _refusal(str(sop_class), dataset),
        sop_uid=str(dataset.get("SOPInstanceUID") or ""),
        series_uid=str(dataset.get("SeriesInstanceUID") or ""),
        study_uid=str(dataset.get("StudyInstanceUID") or ""),
        patient_id=str(dataset.get("PatientID") or "").strip(),
        frame_of_reference_uid=str(dataset.get("FrameOfReferenceUID") or ""),
    )
    if instance.refusal:
        return instance
    photometric = dataset.get("PhotometricInterpretation")
    shape = (int(dataset.get("Rows") or 0), int(dataset.get("Columns") or 0))
    planes = tuple(_frames(sop_class, dataset))
    tiled = len(planes) == 1 and mosaic.tiled(dataset, planes[0])
    if tiled:
        laid = None if sop_class in ENHANCED else mosaic.tiles(dataset, planes[0], shape)
        if laid is None:
            return replace(instance, refusal="mosaic")
        planes, shape = laid
    return replace(
        instance,
        annotated=words(dataset.get("BurnedInAnnotation"))[:1] not in ((), ("NO",)),
        grey=dataset.get("SamplesPerPixel") == 1 and photometric in {"MONOCHROME1", "MONOCHROME2"},
        inverted=photometric == "MONOCHROME1",
        shape=shape,
        manufacturer=vendor(str(dataset.get("Manufacturer") or "")),
        field_strength_t=number(dataset.get("MagneticFieldStrength")),
        sex=str(dataset.get("PatientSex") or "").strip().upper()[:1],
        age_years=age_years(*(str(dataset.get(k) or "") for k in ("PatientAge", "PatientBirthDate", "StudyDate"))),
        frames=planes,
        tiled=tiled,
        start=_start(dataset),
        pixels=plain and plain_pixels.find(plain),
    )


def _start(dataset: Any) -> tuple[str, float]:
    time = "".join(re.sub(r"[^\d.]", "", str(dataset.get(keyword) or "")) for keyword in ("SeriesDate", "SeriesTime"))
    count = tolerant(dataset, "SeriesNumber")
    return time, -1.0 if count is None else count


def _refusal(sop_class: str, dataset: Any) -> str | None:
    """Why an object is not an MR image at all, or None."""
    if sop_class == MediaStorageDirectoryStorage:
        return "media_directory"
    modality = str(dataset.get("Modality") or "MR")
    if sop_class in ENHANCED or sop_class == MRImageStorage:
        return None if modality == "MR" else "not_mr"
    return "not_mr" if dataset.get("Rows") else "not_an_image"


def _frames(sop_class: str, dataset: Any) -> Iterator[Frame]:
    if sop_class in ENHANCED:
        yield from functional_groups.frames(dataset)
    else:
        yield frames.classic(dataset)
