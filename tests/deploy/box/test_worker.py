"""A study may do what it likes to the process that answers it."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from io import BytesIO
from pathlib import Path

import pydicom
import pytest

from deploy.box.answer import Answer
from deploy.box.worker import Limits, Worker
from pipeline.errors import ContractError, WorkerError
from tests.inference.conftest import Maker, SeriesWriter

pytestmark = pytest.mark.acceptance
ROOM = Limits(8 * 2**30, 120.0)


@contextmanager
def at_work(release: Path, limits: Limits = ROOM) -> Iterator[Worker]:
    worker = Worker(release, None, limits)
    try:
        yield worker
    finally:
        worker.close()


def files(folder: Path) -> list[Path]:
    return sorted(path for path in folder.rglob("*") if path.is_file())


def uid(answer: Answer) -> str:
    """Of the report."""
    return str(pydicom.dcmread(BytesIO(answer.contents["sr"])).SOPInstanceUID)


def test_it_answers_and_goes_on_after_its_process_was_killed(
    make_release: Maker, write_series: SeriesWriter, tmp_path: Path
) -> None:
    series = write_series(tmp_path / "study", 1)
    with at_work(make_release(tmp_path / "release")) as worker:
        first = worker.answer(files(tmp_path / "study"))
        assert [(each.SeriesInstanceUID, each.status) for each in first.predictions] == [(series, "ok")]
        assert uid(first).startswith("2.25.")
        assert worker._process is not None
        os.kill(worker._process.pid or 0, signal.SIGKILL)
        worker._process.join()
        again = worker.answer(files(tmp_path / "study"))
        assert again.predictions == first.predictions
        assert uid(again) == uid(first)


def test_only_the_files_that_are_named_count(make_release: Maker, write_series: SeriesWriter, tmp_path: Path) -> None:
    write_series(tmp_path / "study", 1)
    with at_work(make_release(tmp_path / "release")) as worker:
        answer = worker.answer(files(tmp_path / "study")[:3])
    (found,) = answer.predictions
    assert found.status != "ok"
    assert sorted(answer.contents) == ["sc", "sr"]


def test_a_study_that_takes_too_long_ends_the_process(
    make_release: Maker, write_series: SeriesWriter, tmp_path: Path
) -> None:
    write_series(tmp_path / "study", 1)
    with at_work(make_release(tmp_path / "release"), Limits(8 * 2**30, 0.01)) as worker:
        with pytest.raises(WorkerError, match=r"within 0\.01 s"):
            worker.answer(files(tmp_path / "study"))
        assert worker._process is None


def test_a_process_without_memory_is_an_error_and_no_end(
    make_release: Maker, write_series: SeriesWriter, tmp_path: Path
) -> None:
    write_series(tmp_path / "study", 1)
    with (
        at_work(make_release(tmp_path / "release"), Limits(300 * 2**20, 60.0)) as worker,
        pytest.raises(WorkerError, match="300 MiB"),
    ):
        worker.answer(files(tmp_path / "study"))


def test_a_release_that_cannot_be_used_is_said(make_release: Maker, tmp_path: Path) -> None:
    release = make_release(tmp_path / "release")
    (release / "model.onnx").write_bytes(b"")
    with at_work(release) as worker, pytest.raises(ContractError):
        worker.answer([])
