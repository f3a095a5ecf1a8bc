"""What is forgotten, when, and what is not while anything waits for it."""

from __future__ import annotations

import json
import sqlite3
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from io import BytesIO
from pathlib import Path

import pytest

from deploy.box.incoming import Incoming
from deploy.box.journal import Instance, Journal
from deploy.box.outbox import Outbox
from deploy.box.quarantine import Quarantine
from deploy.box.retention import Forgetting
from deploy.box.settings import Retention
from deploy.box.worklist import again
from pipeline.errors import ConfigError, StorageError
from tests.deploy.box.conftest import instance

NOW = datetime(2026, 6, 1, tzinfo=UTC)
SETTINGS = Retention(answered_days=7, failed_days=30, results_days=90)


@pytest.fixture
def journal(tmp_path: Path) -> Journal:
    (tmp_path / "incoming").mkdir()
    Outbox(Journal(tmp_path / "journal.sqlite"), tmp_path / "results")
    return Journal(tmp_path / "journal.sqlite")


def forgetting(folder: Path, journal: Journal) -> Forgetting:
    quarantine = Quarantine(folder / "quarantine", 100)
    return Forgetting(journal, folder / "incoming", folder / "results", quarantine, SETTINGS, lambda: NOW)


def came(folder: Path, journal: Journal, days: float, state: str) -> int:
    """A study of one instance that came so many days ago; its number."""
    number = len(journal.studies()) + 1
    file, time = f"{number}.dcm", (NOW - timedelta(days=days)).isoformat(timespec="milliseconds")
    (folder / "incoming" / file).write_bytes(b"DICM")
    journal.add(Instance(f"1.{number}.1", f"1.{number}", f"1.{number}.0", "c", "ab", 4, file, "A", time))
    with journal.transaction() as database:
        database.execute("UPDATE studies SET state = ? WHERE study = ?", (state, number))
    return number


def result(folder: Path, journal: Journal, study: int, days: float, *deliveries: str) -> None:
    """A result of a study, and in which states its deliveries are."""
    time = (NOW - timedelta(days=days)).isoformat(timespec="milliseconds")
    (folder / "results" / f"{study}-sr.dcm").write_bytes(b"DICM")
    with journal.transaction() as database:
        values = (f"2.{study}", "sr", f"2.{study}.0", "c", "ab", f"{study}-sr.dcm", study, 1, time)
        database.execute("INSERT INTO results VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)", values)
        for place, state in enumerate(deliveries):
            row = (f"2.{study}", f"PACS{place}", state, time, time)
            database.execute("INSERT INTO deliveries VALUES (NULL, ?, ?, ?, 0, ?, ?, NULL, '', '')", row)


def files(folder: Path) -> list[str]:
    return sorted(path.name for name in ("incoming", "results") for path in (folder / name).iterdir())


@pytest.mark.parametrize(
    ("state", "days", "removed"),
    [
        ("answered", 6.9, False),
        ("answered", 7.1, True),
        ("failed", 29.0, False),
        ("failed", 31.0, True),
        ("receiving", 400.0, False),
        ("complete", 400.0, False),
    ],
)
def test_instances_go_when_their_study_is_done_with(
    state: str, days: float, removed: bool, journal: Journal, tmp_path: Path
) -> None:
    came(tmp_path, journal, days, state)
    assert forgetting(tmp_path, journal).round()[0] == int(removed)
    assert files(tmp_path) == ([] if removed else ["1.dcm"])
    assert len(journal.instances()) == int(not removed)
    assert len(journal.studies()) == 1


def test_days_count_from_the_answer_where_that_was_late(journal: Journal, tmp_path: Path) -> None:
    came(tmp_path, journal, 20, "complete")
    (study,) = journal.studies()
    assert journal.settle(study, "answered", settled=(NOW - timedelta(days=6)).isoformat(timespec="milliseconds"))
    assert forgetting(tmp_path, journal).round() == (0, 0, 0)


@pytest.mark.parametrize(
    ("last", "removed"),
    [("sent", True), ("committed", True), ("warned", True), ("superseded", True), ("queued", False), ("dead", False)],
)
def test_results_go_when_they_are_where_they_should_be(
    last: str, removed: bool, journal: Journal, tmp_path: Path
) -> None:
    number = came(tmp_path, journal, 100, "answered")
    result(tmp_path, journal, number, 99, "sent", last)
    assert forgetting(tmp_path, journal).round() == (1, int(removed), int(removed))
    assert files(tmp_path) == ([] if removed else ["1-sr.dcm"])
    assert len(journal.studies()) == int(not removed)


def test_results_of_a_study_that_is_answered_anew_stay(journal: Journal, tmp_path: Path) -> None:
    number = came(tmp_path, journal, 100, "complete")
    result(tmp_path, journal, number, 99, "sent")
    assert forgetting(tmp_path, journal).round() == (0, 0, 0)
    assert files(tmp_path) == ["1-sr.dcm", "1.dcm"]


@pytest.mark.parametrize(("days", "left"), [(9.9, 2), (10.1, 0)])
def test_what_was_refused_goes_when_its_time_has_come(days: float, left: int, journal: Journal, tmp_path: Path) -> None:
    quarantine = Quarantine(tmp_path / "quarantine", 100)
    quarantine.add(b"bytes", "no StudyInstanceUID")
    now, kept = datetime.now(UTC) + timedelta(days=days), Retention(quarantine_days=10)
    folders = tmp_path / "incoming", tmp_path / "results"
    stop = threading.Event()
    stop.set()
    Forgetting(journal, *folders, quarantine, kept, lambda: now).run(stop)
    assert len(list((tmp_path / "quarantine").iterdir())) == left


class Interrupted(Journal):
    """Something happens once, between one transaction and what follows it."""

    then: Callable[[], object] | None = None

    @contextmanager
    def transaction(self) -> Iterator[sqlite3.Connection]:
        with super().transaction() as database:
            yield database
        if not database.in_transaction and (then := self.then):
            self.then = None
            then()


def test_what_is_sent_again_while_it_is_forgotten_is_kept(tmp_path: Path) -> None:
    (tmp_path / "results").mkdir()
    journal = Interrupted(tmp_path / "journal.sqlite")
    incoming, content = Incoming(tmp_path / "incoming", journal, 0), file_of(1)
    incoming.keep(content, "A")
    with journal.transaction() as database:
        database.execute("UPDATE studies SET state = 'answered', last_received = '2026-01-01'")
    journal.then = lambda: incoming.keep(content, "A")
    assert forgetting(tmp_path, journal).round()[0] == 1
    (row,) = journal.instances()
    assert (tmp_path / "incoming" / row.file).read_bytes() == content


def test_what_is_forgotten_while_it_is_sent_again_is_not_acknowledged(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "results").mkdir()
    journal = Journal(tmp_path / "journal.sqlite")
    incoming, content = Incoming(tmp_path / "incoming", journal, 0), file_of(1)
    (tmp_path / "incoming" / incoming.keep(content, "A").file).unlink()
    with journal.transaction() as database:
        database.execute("UPDATE studies SET state = 'answered', last_received = '2026-01-01'")

    def forget(folder: Path) -> None:
        # Once the file is there, its study's folder is synced.
        if folder != incoming.folder:
            forgetting(tmp_path, journal).round()

    with monkeypatch.context() as patch:
        patch.setattr("deploy.box.incoming.sync_folder", forget)
        with pytest.raises(StorageError):
            incoming.keep(content, "A")
    assert not journal.instances()
    assert (tmp_path / "incoming" / incoming.keep(content, "A").file).read_bytes() == content


def test_the_first_content_that_comes_again_while_it_is_replaced_is_kept(tmp_path: Path) -> None:
    journal = Interrupted(tmp_path / "journal.sqlite")
    incoming = Incoming(tmp_path / "incoming", journal, 0)
    incoming.keep(file_of(1), "A")
    journal.then = lambda: incoming.keep(file_of(1), "A")
    incoming.keep(file_of(1, PatientID="P2"), "A")
    (row,) = journal.instances()
    assert (tmp_path / "incoming" / row.file).read_bytes() == file_of(1)


def file_of(number: int, **changes: str) -> bytes:
    """An instance as a file of PS3.10."""
    file = BytesIO()
    instance(number, **changes).save_as(file, enforce_file_format=True)
    return file.getvalue()


def test_a_study_of_which_nothing_is_left_is_not_answered_again(journal: Journal, tmp_path: Path) -> None:
    number = came(tmp_path, journal, 8, "answered")
    forgetting(tmp_path, journal).round()
    with pytest.raises(ConfigError, match="have it sent again"):
        again(journal, number)


def test_a_late_image_waits_for_what_was_forgotten(journal: Journal, tmp_path: Path) -> None:
    number = came(tmp_path, journal, 8, "answered")
    (first,) = journal.instances()
    forgetting(tmp_path, journal).round()
    # As the box would be opened anew.
    later = Journal(tmp_path / "journal.sqlite")
    later.add(replace(first, sop_instance_uid="1.1.2", file="late.dcm"))
    (study,) = later.studies()
    assert (study.study, study.revision, later.forgotten(study)) == (number, 2, 1)
    later.add(first)
    assert later.forgotten(study) == 0


def test_a_study_that_goes_takes_what_was_forgotten_of_it_along(journal: Journal, tmp_path: Path) -> None:
    came(tmp_path, journal, 100, "answered")
    assert forgetting(tmp_path, journal).round() == (1, 0, 1)
    with journal.transaction() as database:
        assert database.execute("SELECT count(*) FROM forgotten").fetchone() == (0,)


def test_a_file_that_is_gone_already_and_a_shadow_are_no_hindrance(journal: Journal, tmp_path: Path) -> None:
    number = came(tmp_path, journal, 100, "answered")
    (tmp_path / "incoming" / "1.dcm").unlink()
    with journal.transaction() as database:
        row = (number, 1, "b", "a", json.dumps([]), json.dumps([]), "")
        database.execute("INSERT INTO shadows VALUES (?, ?, ?, ?, ?, ?, ?)", row)
    assert forgetting(tmp_path, journal).round() == (1, 0, 1)
    assert not journal.studies()


def test_nothing_goes_where_the_journal_cannot_be_written(
    journal: Journal, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    came(tmp_path, journal, 8, "answered")
    at_work = forgetting(tmp_path, journal)
    with sqlite3.connect(tmp_path / "journal.sqlite") as other:
        other.execute("CREATE TRIGGER no BEFORE DELETE ON instances BEGIN SELECT raise(ABORT, 'full'); END")
    other.close()
    with pytest.raises(sqlite3.Error):
        at_work.round()
    assert files(tmp_path) == ["1.dcm"]
