"""The way back: from a pseudonym or a token to what it stands for."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

from pipeline.dicom.header import Instance, find_files, read_headers
from pipeline.dicom.pseudonym import Pseudonyms, series_of


def relative(path: Path, folder: Path) -> str:
    """A path below `folder` as text that can be written, whatever bytes the file system holds."""
    return os.fsencode(path.relative_to(folder).as_posix()).decode("utf-8", "backslashreplace")


def resolve(token: str, folder: Path, names: Pseudonyms) -> str | None:
    """What a pseudonym (`P-`, `E-`, `S-`, `I-`) or a token of rejected.csv (`R-`) stands for, None if for nothing here.

    The name of a volume stands for its series. Files are found and read as ingest does it, those in archives among
    them. The answer identifies a patient: it is for the eyes of whoever holds the key, not for a file.
    """
    for path in find_files(folder):
        for name, meaning in _meanings(path, folder, names):
            if name == series_of(token):
                return meaning
    return None


def _meanings(path: Path, folder: Path, names: Pseudonyms) -> Iterator[tuple[str, str]]:
    """Each name that ingest can give to something in a file, with what it means."""
    for header in read_headers([path]):
        file = relative(header.path if isinstance(header, Instance) else Path(header.source), folder)
        yield names.token(file), f"file {file}"
        if isinstance(header, Instance):
            yield names.token(header.series_uid), f"SeriesInstanceUID {header.series_uid}"
            yield names.patient(header.patient_id), f"PatientID {header.patient_id}"
            yield names.study(header.study_uid), f"StudyInstanceUID {header.study_uid}"
            yield names.series(header.series_uid), f"SeriesInstanceUID {header.series_uid}"
            yield names.instance(header.sop_uid), f"SOPInstanceUID {header.sop_uid}"
