"""A box's reports as files: JSON lines, one study a line, one file a day (UTC), in the order they were answered."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

from pydantic import ValidationError

from pipeline.errors import DataError
from pipeline.files import FULL, storage_full
from pipeline.monitoring.schema import StudyReport

#: Names of the files, so that their order is that of the days.
PATTERN = "????-??-??.jsonl"

_CHUNK = 2**16


def append(folder: Path, report: StudyReport) -> None:
    """Add a report to the file of its day; it is on the disk when this returns. One process writes.

    What was torn at the end of the file when a machine lost power is cut off first.

    Raises:
        StorageError: the disk is full.
    """
    path = folder / f"{report.hour:%Y-%m-%d}.jsonl"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with open(path, "ab+") as handle:
            handle.truncate(_whole(handle))
            handle.write(report.model_dump_json().encode() + b"\n")
            handle.flush()
            os.fsync(handle.fileno())
    except OSError as error:
        if error.errno in FULL:
            raise storage_full(path, error) from error
        raise


def read(folder: Path) -> list[StudyReport]:
    """All reports of a folder, the oldest day first; a last line without its end was torn, and is left out.

    Raises:
        DataError: no such folder, or a line that is no report; the message names file and line, and no content.
    """
    if not folder.is_dir():
        raise DataError(f"a folder of reports in {folder}", "none there", "Name the folder that the box writes to.")
    return [report for path in sorted(folder.glob(PATTERN)) for report in _of_file(path)]


def _whole(handle: BinaryIO) -> int:
    """The bytes of the lines that have an end; read from behind, as a day's file may be long."""
    end = handle.seek(0, os.SEEK_END)
    while end:
        begin = max(0, end - _CHUNK)
        handle.seek(begin)
        if (place := handle.read(end - begin).rfind(b"\n")) >= 0:
            return begin + place + 1
        end = begin
    return 0


def _of_file(path: Path) -> Iterator[StudyReport]:
    *lines, _ = path.read_bytes().split(b"\n")
    for number, line in enumerate(lines, start=1):
        try:
            yield StudyReport.model_validate_json(line)
        except ValidationError as error:
            problem = error.errors(include_input=False, include_url=False)[0]
            # A key that is not of the schema could itself be somebody's name.
            known = [str(part) for part in problem["loc"] if part in StudyReport.model_fields]
            raise DataError(
                f"a report of one study in line {number} of {path}",
                f"{'.'.join(known) or 'the whole'}: {problem['msg']}",
                "Take the line out, or read the reports with the version that wrote them.",
            ) from error
