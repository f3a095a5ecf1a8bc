"""Studies wait for a release that opens no more; one that it cannot answer fails alone."""

from __future__ import annotations

import threading
from pathlib import Path

import pytest

from deploy.box.journal import Journal
from pipeline.errors import EngineError, PipelineError, WorkerError
from tests.deploy.box.test_studies import Saying, answering, came, states
from tests.waiting import within


@pytest.fixture
def journal(tmp_path: Path) -> Journal:
    return Journal(tmp_path / "journal.sqlite")


@pytest.mark.parametrize("lost", [EngineError, WorkerError])
def test_studies_wait_for_a_release_that_opens_no_more(
    journal: Journal, monkeypatch: pytest.MonkeyPatch, lost: type[PipelineError]
) -> None:
    """It answered one, and its process ended; what it is opened with anew is not what it was."""
    monkeypatch.setattr("deploy.box.studies.AGAIN_S", 0.01)
    for number in range(1, 5):
        came(journal, 1, number, f"{number}")
    stop, opens, worker = threading.Event(), threading.Event(), Saying()

    def opening() -> None:
        if not opens.is_set() and len(worker.asked) > 2:
            raise lost("an engine for this machine", "one for another", "Build it again.")

    worker.meanwhile = opening
    at_work = answering(journal, worker, 70)
    thread = threading.Thread(target=at_work.run, args=(stop, 0.01))
    thread.start()
    try:
        assert within(60, lambda: len(worker.asked) > 8)
        assert states(journal) == [("answered", 1), *[("complete", 1)] * 3]
        assert "for another" in (at_work._watch.worker_trouble or "")
        opens.set()
        assert within(60, lambda: states(journal) == [("answered", 1)] * 4)
        assert at_work._watch.worker_trouble is None
    finally:
        stop.set()
        thread.join()


def test_a_study_fails_alone_where_the_release_opens_all_the_same(journal: Journal) -> None:
    came(journal, 1, 0, "1")
    came(journal, 1, 1, "2")
    worker = Saying()

    def meanwhile() -> None:
        if worker.asked[-1] == ["1-1.dcm"]:
            raise EngineError("an engine for such slices", "none", "See the study.")

    worker.meanwhile = meanwhile
    assert answering(journal, worker, 61).round() == 2
    assert states(journal) == [("failed", 1), ("answered", 1)]
