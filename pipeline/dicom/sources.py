"""Which file is whose: the identifiers of every file of a folder, and the way back from a pseudonym."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from pydicom import dcmread

from pipeline.dicom.header import find_files
from pipeline.dicom.pseudonym import Pseudonyms
from pipeline.dicom.values import DAMAGED

_TAGS = ["PatientID", "StudyInstanceUID", "SeriesInstanceUID", "SOPInstanceUID"]


@dataclass(frozen=True)
class Source:
    """A file and what its header calls it; empty where it says nothing. All of it identifies."""

    path: Path = field(repr=False)
    patient_id: str = field(default="", repr=False)
    study_uid: str = field(default="", repr=False)
    series_uid: str = field(default="", repr=False)
    sop_uid: str = field(default="", repr=False)


def sources(folder: Path) -> Iterator[Source]:
    """Every file below `folder`, in the order of the paths."""
    for path in find_files(folder):
        yield _source(path)


def resolve(token: str, folder: Path, names: Pseudonyms) -> str | None:
    """What a pseudonym (`P-`, `E-`, `S-`, `I-`) or a token of rejected.csv (`R-`) stands for, None if for nothing here.

    The answer identifies a patient: it is for the eyes of whoever holds the key, not for a file.
    """
    for source in sources(folder):
        relative = source.path.relative_to(folder).as_posix()
        candidates = (
            (names.token(relative), f"file {relative}"),
            (names.token(source.series_uid), f"SeriesInstanceUID {source.series_uid}"),
            (names.patient(source.patient_id), f"PatientID {source.patient_id}"),
            (names.study(source.study_uid), f"StudyInstanceUID {source.study_uid}"),
            (names.series(source.series_uid), f"SeriesInstanceUID {source.series_uid}"),
            (names.instance(source.sop_uid), f"SOPInstanceUID {source.sop_uid}"),
        )
        for name, meaning in candidates:
            if name == token:
                return meaning
    return None


def _source(path: Path) -> Source:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # they quote values
            header = dcmread(path, stop_before_pixels=True, force=True, specific_tags=_TAGS)
            return Source(path, *(str(header.get(keyword) or "").strip() for keyword in _TAGS))
    except (*DAMAGED, OSError):
        return Source(path)
