"""When a study is complete, and what becomes of it."""

from __future__ import annotations

import errno
import json
import sqlite3
import threading
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from deploy.box.answer import Answer
from deploy.box.journal import Instance, Journal
from deploy.box.outbox import Outbox
from deploy.box.quarantine import Quarantine
from deploy.box.retention import Forgetting
from deploy.box.settings import Retention, Studies
from deploy.box.studies import Answering
from deploy.box.worklist import again, table
from pipeline.errors import ConfigError, EngineError, StorageError, WorkerError
from pipeline.inference.predict import Prediction
from tests.deploy.box.results import result
from tests.deploy.box.test_scp import Failing
from tests.waiting import within

START = datetime(2026, 1, 1, tzinfo=UTC)
SAID = [Prediction("1", "1.0", probabilities=(0.9,), decision="1"), Prediction(status="too_few_slices", message="two")]


class Saying:
    """In place of the worker: says the same of everything, after so many crashes."""

    def __init__(self, crashes: int = 0, meanwhile: Callable[[], None] = lambda: None) -> None:
        self.said = SAID
        self.crashes, self.meanwhile, self.asked = crashes, meanwhile, list[list[str]]()

    def answer(self, files: Sequence[Path]) -> Answer:
        self.asked.append([path.name for path in files])
        self.meanwhile()
        if self.crashes:
            self.crashes -= 1
            raise WorkerError("the process to survive", "it ended", "See what the study is.")
        return Answer(self.said, {"sr": result(1, "sr")}, None, "not_assessed")


@pytest.fixture
def journal(tmp_path: Path) -> Journal:
    return Journal(tmp_path / "journal.sqlite")


def came(journal: Journal, number: int, second: float, study: str = "1") -> None:
    """An instance of a study, so many seconds after the start."""
    received = (START + timedelta(seconds=second)).isoformat(timespec="milliseconds")
    row = Instance(f"{study}.0.{number}", study, f"{study}.0", "c", "ab", 1, f"{study}-{number}.dcm", "A", received)
    journal.add(row)


def answering(journal: Journal, worker: Saying, second: float) -> Answering:
    """At so many seconds after the start: quiet is 60 s, the end 600 s. Results lie beside the journal."""
    settings, now = Studies(quiet_s=60, forced_s=600), START + timedelta(seconds=second)
    outbox = Outbox(journal, of(journal))
    return Answering(journal, Path("/in"), outbox, of(journal), lambda: ("5ha", worker), settings, lambda: now)  # type: ignore[arg-type]


def of(journal: Journal) -> Path:
    """The folder of results."""
    (_, _, file) = journal._database.execute("PRAGMA database_list").fetchone()
    return Path(file).with_name("results")


def states(journal: Journal) -> list[tuple[str, int]]:
    return [(study.state, study.revision) for study in journal.studies()]


def test_a_study_is_complete_when_it_has_been_quiet(journal: Journal) -> None:
    worker = Saying()
    came(journal, 1, 0)
    came(journal, 2, 50)
    assert answering(journal, worker, 109).round() == 0
    assert states(journal) == [("receiving", 1)]
    assert answering(journal, worker, 110).round() == 1
    assert states(journal) == [("answered", 1)]
    assert worker.asked == [["1-1.dcm", "1-2.dcm"]]
    (study,) = journal.studies()
    assert [each["status"] for each in json.loads(study.predictions)] == ["ok", "too_few_slices"]
    assert study.release_sha256 == "5ha"
    (kept,) = Outbox(journal, of(journal)).results(1)
    assert (of(journal) / kept.file).read_bytes() == result(1, "sr")


def test_a_study_that_is_never_quiet_is_complete_at_the_end(journal: Journal) -> None:
    for second in range(0, 620, 20):
        came(journal, second, second)
    assert answering(journal, Saying(), 599).round() == 0
    assert answering(journal, Saying(), 601).round() == 1


def test_what_comes_later_begins_a_revision_with_a_clock_of_its_own(journal: Journal) -> None:
    came(journal, 1, 0)
    answering(journal, Saying(), 60).round()
    came(journal, 2, 1_000)
    assert states(journal) == [("receiving", 2)]
    worker = Saying()
    assert answering(journal, worker, 1_059).round() == 0
    assert answering(journal, worker, 1_060).round() == 1
    assert worker.asked == [["1-1.dcm", "1-2.dcm"]]
    assert states(journal) == [("answered", 2)]


def test_an_answer_of_what_is_no_more_is_not_kept(journal: Journal) -> None:
    came(journal, 1, 0)
    answering(journal, Saying(meanwhile=lambda: came(journal, 2, 61)), 60).round()
    assert states(journal) == [("receiving", 2)]
    assert journal.studies()[0].predictions == ""
    assert not list(of(journal).iterdir())


def test_one_crash_is_tried_again_and_two_are_a_failure_that_stops_nobody(journal: Journal) -> None:
    came(journal, 1, 0, "1")
    came(journal, 1, 1, "2")
    worker = Saying(crashes=2)
    assert answering(journal, worker, 61).round() == 2
    assert [(study.study_instance_uid, study.state) for study in journal.studies()] == [
        ("1", "failed"),
        ("2", "answered"),
    ]
    assert "it ended" in journal.studies()[0].reason
    came(journal, 2, 100, "2")
    assert answering(journal, Saying(crashes=1), 160).round() == 1
    assert states(journal)[1] == ("answered", 2)


def test_a_study_that_was_complete_when_the_box_stopped_is_answered_by_the_next(journal: Journal) -> None:
    came(journal, 1, 0)
    journal.complete(START.isoformat(timespec="milliseconds"), "")
    assert states(journal) == [("complete", 1)]
    assert answering(journal, Saying(), 1).round() == 1


def test_a_failed_study_is_answered_once_more_when_asked(journal: Journal) -> None:
    came(journal, 1, 0)
    answering(journal, Saying(crashes=2), 60).round()
    again(journal, 1)
    answering(journal, Saying(), 60).round()
    assert states(journal) == [("answered", 1)]
    with pytest.raises(ConfigError, match="found 7"):
        again(journal, 7)


def test_a_part_of_a_study_has_no_number_until_the_rest_came_again(journal: Journal) -> None:
    worker = Saying()
    came(journal, 1, 0)
    answering(journal, worker, 60).round()
    settings, later = Retention(answered_days=7, failed_days=30, results_days=90), START + timedelta(days=8)
    quarantine = Quarantine(of(journal).with_name("quarantine"), 0)
    Forgetting(journal, of(journal), of(journal), quarantine, settings, lambda: later).round()
    came(journal, 2, 100)
    answering(journal, worker, 160).round()
    (study,) = journal.studies()
    assert (study.state, worker.asked) == ("failed", [["1-1.dcm"]])
    assert "1 of which were removed" in study.reason
    assert "Have the whole study sent again." in study.reason
    came(journal, 1, 200)
    answering(journal, worker, 260).round()
    assert states(journal) == [("answered", 3)]
    assert worker.asked[1:] == [["1-1.dcm", "1-2.dcm"]]


def test_a_study_whose_images_all_came_under_another_has_no_answer(journal: Journal) -> None:
    worker = Saying()
    came(journal, 1, 0)
    answering(journal, worker, 60).round()
    (row,) = journal.instances()
    journal.add(replace(row, study_instance_uid="2", received=(START + timedelta(seconds=100)).isoformat()))
    assert answering(journal, worker, 200).round() == 2
    assert states(journal) == [("failed", 2), ("answered", 1)]
    assert "all came under another study" in journal.studies("failed")[0].reason


def test_the_list_says_what_was_said_and_no_uid(journal: Journal) -> None:
    came(journal, 1, 0, "1.2.840.99")
    came(journal, 1, 0.5, "1.2.840.98")
    answering(journal, Saying(), 60).round()
    came(journal, 2, 70, "1.2.840.98")
    shown = table([replace(study) for study in journal.studies()])
    assert shown.splitlines()[1].split("  ")[-1].strip() == "1 x decision 1, 1 x too_few_slices"
    assert "receiving" in shown
    assert "2 (2)" not in shown
    assert "1.2.840" not in shown


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EIO])
@pytest.mark.parametrize("name", ["fsync", "replace", "open", "write"])
def test_a_disk_that_fails_leaves_no_half_answer(
    journal: Journal, monkeypatch: pytest.MonkeyPatch, name: str, number: int
) -> None:
    """Each call of the kind fails once, from the first to the last that one answer takes."""
    came(journal, 1, 0)
    at_work = answering(journal, Saying(), 60)
    for at in range(10):
        failing = Failing(of(journal), name, number, at)
        with monkeypatch.context() as patch:
            failing.install(patch)
            with suppress(StorageError, OSError):
                at_work.round()
        if not failing.struck:
            break
        assert states(journal) == [("complete", 1)], at
        assert not list(of(journal).iterdir()), at
    assert at > 0
    assert states(journal) == [("answered", 1)]
    assert len(list(of(journal).iterdir())) == 1


def test_a_journal_that_is_full_leaves_no_half_answer(journal: Journal) -> None:
    came(journal, 1, 0)
    journal.complete(START.isoformat(timespec="milliseconds"), "")
    (pages,) = journal._database.execute("PRAGMA page_count").fetchone()
    large = Saying()
    large.said = [Prediction("1", message="x" * 1_000_000)]
    journal._database.execute(f"PRAGMA max_page_count = {pages + 1}")
    with pytest.raises(sqlite3.OperationalError, match="full"):
        answering(journal, large, 60).round()
    assert states(journal) == [("complete", 1)]
    assert not list(of(journal).iterdir())
    journal._database.execute("PRAGMA max_page_count = 1000000")
    assert answering(journal, large, 60).round() == 1


def test_what_became_complete_meanwhile_waits_for_nothing_else(journal: Journal) -> None:
    class Stop(threading.Event):
        waits = 0

        def wait(self, timeout: float | None = None) -> bool:
            self.waits += 1
            return self.is_set()

    stop, worker = Stop(), Saying()

    def meanwhile() -> None:
        if worker.asked[-1] == ["1-1.dcm"]:
            came(journal, 1, 0, "2")
        elif worker.asked[-1] == ["2-1.dcm"]:
            stop.set()

    worker.meanwhile = meanwhile
    came(journal, 1, 0, "1")
    at_work = answering(journal, worker, 60)
    thread = threading.Thread(target=at_work.run, args=(stop,))
    thread.start()
    thread.join(120)
    assert worker.asked == [[], ["1-1.dcm"], ["2-1.dcm"]]
    # One before the first, and the last that finds the end.
    assert stop.waits == 2


def test_studies_wait_for_a_release_that_cannot_be_opened(journal: Journal, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("deploy.box.studies.AGAIN_S", 0.01)
    came(journal, 1, 0)
    stop, opens, worker = threading.Event(), threading.Event(), Saying()

    def opening() -> None:
        if not opens.is_set():
            raise EngineError("a machine that can run the release", "this one", "Switch to another.")

    worker.meanwhile = opening
    thread = threading.Thread(target=answering(journal, worker, 60).run, args=(stop, 0.01))
    thread.start()
    assert within(60, lambda: len(worker.asked) > 3)
    assert states(journal) == [("receiving", 1)]
    opens.set()
    assert within(60, lambda: states(journal) == [("answered", 1)])
    stop.set()
    thread.join()


def test_the_thread_outlives_a_disk_that_fails(journal: Journal, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("deploy.box.studies.AGAIN_S", 0.01)
    came(journal, 1, 0)
    stop, failing = threading.Event(), Failing(of(journal), "replace", errno.ENOSPC, 0)
    with monkeypatch.context() as patch:
        failing.install(patch)
        thread = threading.Thread(target=answering(journal, Saying(), 60).run, args=(stop, 0.01))
        thread.start()
        assert within(60, lambda: states(journal) == [("answered", 1)])
        stop.set()
        thread.join()
    assert failing.struck
