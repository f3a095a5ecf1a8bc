"""De-identified DICOM files of accepted series: one folder a patient, study and series, named by pseudonyms alone."""

from __future__ import annotations

import re
import warnings
from collections.abc import Iterable
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from pydicom import dcmread
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.uid import ExplicitVRLittleEndian

from pipeline.dicom import burned_in, pixels
from pipeline.dicom.deidentify import Options, deidentify
from pipeline.dicom.pseudonym import Pseudonyms
from pipeline.dicom.sources import Source
from pipeline.dicom.values import DAMAGED
from pipeline.files import write_atomic

#: Of this program, as PS3.7 D.3.3.2 wants it: says which program wrote a file, and nothing of who ran it.
IMPLEMENTATION_UID = "2.25.205519934555576938993828797017807311240"
IMPLEMENTATION_NAME = "MRI-TRANSFER"

_DATATYPES = {8: "u1", 16: "<u2", 32: "<u4"}
_NAME = re.compile(r"P-[0-9a-f]{12}/E-[0-9a-f]{12}/S-[0-9a-f]{12}/I-[0-9a-f]{12}\.dcm")


@dataclass(frozen=True)
class Job:
    """One series to be written.

    Attributes:
        series: its pseudonym.
        files: where they lie and what they are called.
        folder: below which the files go.
        names: the key.
        options: what may stay.
    """

    series: str
    files: tuple[Source, ...] = field(repr=False)
    folder: Path
    names: Pseudonyms = field(repr=False)
    options: Options


@dataclass(frozen=True)
class Written:
    """A series that was written, or why it was not.

    Attributes:
        series: its pseudonym.
        paths: the files, below the folder of the job.
        reason: a key of `reasons.REASONS` when nothing was written, else None.
    """

    series: str
    paths: tuple[str, ...]
    reason: str | None = None


def write_series(job: Job) -> Written:
    """Write the files of a series, each atomically, all of them or none.

    Raises:
        StorageError: the disk is full.
    """
    paths = {f"{_place(job, source)}.dcm": source for source in job.files}
    for source in job.files:
        reason = _refusal(source.path)
        if reason:
            return _withdraw(job, paths, reason)
    for path, source in paths.items():
        try:
            made = _deidentified(source, job)
        except (*DAMAGED, OSError):
            return _withdraw(job, paths, "unreadable_pixels")
        write_atomic(job.folder / path, partial(_save, made))
    return Written(job.series, tuple(paths))


def _save(made: Dataset, handle: BinaryIO) -> None:
    made.save_as(handle, enforce_file_format=True)


def remove_others(folder: Path, written: Iterable[str]) -> int:
    """Remove files of earlier runs that are not among `written`, and folders left empty; say how many files."""
    current, removed = set(written), 0
    for path in sorted(folder.glob("P-*/E-*/S-*/I-*.dcm")):
        name = path.relative_to(folder).as_posix()
        if _NAME.fullmatch(name) and name not in current:
            path.unlink()
            removed += 1
            for parent in (path.parent, path.parent.parent, path.parent.parent.parent):
                if not any(parent.iterdir()):
                    parent.rmdir()
    return removed


def _place(job: Job, source: Source) -> str:
    names = job.names
    patient, study = names.patient(source.patient_id), names.study(source.study_uid)
    return f"{patient}/{study}/{job.series}/{names.instance(source.sop_uid)}"


def _withdraw(job: Job, paths: Iterable[str], reason: str) -> Written:
    for path in paths:
        (job.folder / path).unlink(missing_ok=True)
    return Written(job.series, (), reason)


def _refusal(path: Path) -> str | None:
    try:
        header = dcmread(
            path, stop_before_pixels=True, force=True, specific_tags=["Modality", "ImageType", "BurnedInAnnotation"]
        )
        return burned_in.refusal(header)
    except (*DAMAGED, OSError):
        return "unreadable_pixels"


def _deidentified(source: Source, job: Job) -> Dataset:
    """One file, with new file meta information and an empty preamble."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the parser's warnings quote values
        dataset = dcmread(source.path, force=True)
        made = deidentify(dataset, job.names, job.options)
        _native_pixels(made, dataset)
    made.file_meta = FileMetaDataset()
    made.file_meta.MediaStorageSOPClassUID = made.SOPClassUID
    made.file_meta.MediaStorageSOPInstanceUID = made.SOPInstanceUID
    made.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    made.file_meta.ImplementationClassUID = IMPLEMENTATION_UID
    made.file_meta.ImplementationVersionName = IMPLEMENTATION_NAME
    made.preamble = bytes(128)
    return made


def _native_pixels(made: Dataset, dataset: Any) -> None:
    """The stored values, uncompressed: no comment of a codec, overlay in unused bits or padding comes along."""
    values = np.stack([pixels.stored_values(frame, dataset) for frame in pixels.decoded(dataset)])
    allocated = int(dataset.BitsAllocated)
    datatype = _DATATYPES[allocated].replace("u", "i" if dataset.PixelRepresentation == 1 else "u")
    content = values.astype(datatype).tobytes()
    made.add_new("PixelData", "OW" if allocated > 8 else "OB", content + bytes(len(content) % 2))
    made.HighBit = int(dataset.BitsStored) - 1
