"""Reading a folder in one step."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import pytest

from pipeline.contract import Selection
from pipeline.dicom.load import load
from pipeline.dicom.reasons import Rejection
from pipeline.dicom.scan import Scan
from pipeline.errors import DicomError

Read = Callable[..., tuple[list[Scan], list[Rejection]]]


@pytest.fixture(scope="session")
def read() -> Read:
    """Scans and rejections of a folder, in the order in which they come, also when no series can be used."""

    def read(
        folder: Path, selection: Selection | None = None, workers: int | None = 1
    ) -> tuple[list[Scan], list[Rejection]]:
        found: list[Scan | Rejection] = []
        with suppress(DicomError):
            for item in load(folder, selection, workers):
                found.append(item)  # noqa: PERF402 - what comes before the error counts
        scans = [item for item in found if isinstance(item, Scan)]
        return scans, [item for item in found if isinstance(item, Rejection)]

    return read
