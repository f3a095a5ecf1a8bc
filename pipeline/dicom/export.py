"""De-identified DICOM files of accepted series: one folder a patient, study and series, named by pseudonyms alone."""

from __future__ import annotations

import re
import warnings
from collections.abc import Set
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from pydicom import dcmread
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.uid import ExplicitVRLittleEndian

from pipeline.dicom import pixels, source
from pipeline.dicom.deidentify import Options, deidentify
from pipeline.dicom.pseudonym import Pseudonyms
from pipeline.dicom.scan import Described
from pipeline.dicom.values import UNREADABLE
from pipeline.files import write_atomic

#: Of this program, as PS3.7 D.3.3.2 wants it: says which program wrote a file, and nothing of who ran it.
IMPLEMENTATION_UID = "2.25.205519934555576938993828797017807311240"
IMPLEMENTATION_NAME = "MRI-TRANSFER"

_DATATYPES = {8: "u1", 16: "<u2", 32: "<u4"}
_PLACE = re.compile(r"P-[0-9a-f]{12}/E-[0-9a-f]{12}/S-[0-9a-f]{12}")
_NAME = re.compile(r"I-[0-9a-f]{12}\.dcm")


@dataclass(frozen=True)
class Job:
    """One series to be written.

    Attributes:
        place: its folder below `folder`: pseudonyms of patient, study and series.
        files: its files, each once; those in archives, too.
        folder: below which all series go.
        names: the key.
        options: what may stay.
    """

    place: str
    files: tuple[Path, ...] = field(repr=False)
    folder: Path
    names: Pseudonyms = field(repr=False)
    options: Options


@dataclass(frozen=True)
class Written:
    """A series that was written, or why it was not.

    Attributes:
        place: that of the job.
        files: how many were written.
        removed: how many of earlier runs were removed.
        reason: a key of `reasons.REASONS` when nothing was written, else None.
    """

    place: str
    files: int
    removed: int
    reason: str | None = None


def place(scan: Described, names: Pseudonyms) -> str:
    """The folder of a series: pseudonyms of patient, study and series."""
    return f"{names.patient(scan.patient_id)}/{names.study(scan.study_uid)}/{names.series(scan.series_uid)}"


def write_series(job: Job) -> Written:
    """Write the files of a series, each atomically, all of them or none; others of it from earlier runs go.

    Raises:
        StorageError: the disk is full.
    """
    written: set[str] = set()
    reason = None
    for path in job.files:
        try:
            made, name = _deidentified(path, job)
        except (*UNREADABLE, MemoryError) as error:
            reason = "too_large" if isinstance(error, MemoryError) else "unreadable_pixels"
            written.clear()
            break
        write_atomic(job.folder / job.place / name, partial(_save, made))
        written.add(name)
    removed = _remove(job.folder / job.place, written)
    return Written(job.place, len(written), 0 if reason else removed, reason)


def _save(made: Dataset, handle: BinaryIO) -> None:
    made.save_as(handle, enforce_file_format=True)


def remove_others(folder: Path, places: Set[str]) -> int:
    """Remove the files of series of earlier runs that are not among `places`; say how many files."""
    removed = 0
    for series in folder.glob("P-*/E-*/S-*"):
        place = series.relative_to(folder).as_posix()
        if _PLACE.fullmatch(place) and place not in places:
            removed += _remove(series, set())
    return removed


def _remove(series: Path, but: Set[str]) -> int:
    """Remove our files of a series but some, and folders left empty; say how many files."""
    removed = 0
    for path in series.glob("I-*.dcm"):
        if _NAME.fullmatch(path.name) and path.name not in but:
            path.unlink()
            removed += 1
    for empty in (series, *series.parents[:2]) if removed else ():
        if not any(empty.iterdir()):
            empty.rmdir()
    return removed


def _deidentified(path: Path, job: Job) -> tuple[Dataset, str]:
    """One file, with new file meta information and an empty preamble, and its name."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the parser's warnings quote values
        with source.opened(path) as handle:
            dataset = dcmread(handle, force=True)
        made = deidentify(dataset, job.names, job.options)
        _native_pixels(made, dataset)
    made.file_meta = FileMetaDataset()
    made.file_meta.MediaStorageSOPClassUID = made.SOPClassUID
    made.file_meta.MediaStorageSOPInstanceUID = made.SOPInstanceUID
    made.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    made.file_meta.ImplementationClassUID = IMPLEMENTATION_UID
    made.file_meta.ImplementationVersionName = IMPLEMENTATION_NAME
    made.preamble = bytes(128)
    return made, f"{job.names.instance(str(dataset.SOPInstanceUID))}.dcm"


def _native_pixels(made: Dataset, dataset: Any) -> None:
    """The stored values, uncompressed: no comment of a codec, overlay in unused bits or padding comes along."""
    values = np.stack([pixels.stored_values(frame, dataset) for frame in pixels.decoded(dataset)])
    allocated = int(dataset.BitsAllocated)
    datatype = _DATATYPES[allocated].replace("u", "i" if dataset.PixelRepresentation == 1 else "u")
    content = values.astype(datatype).tobytes()
    made.add_new("PixelData", "OW" if allocated > 8 else "OB", content + bytes(len(content) % 2))
    made.HighBit = int(dataset.BitsStored) - 1
