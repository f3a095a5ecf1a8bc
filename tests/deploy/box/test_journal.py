"""What the journal keeps, and what it refuses to open."""

from __future__ import annotations

import sqlite3
import threading
from dataclasses import replace
from pathlib import Path

import pytest

from deploy.box.journal import MIGRATIONS, Instance, Journal
from pipeline.errors import ContractError

ONE = Instance("1.1", "1", "1.0", "1.2.840", "ab" * 32, 100, "x/y.dcm", "PACS", "2026-01-01T00:00:00.000+00:00")


def test_an_instance_is_found_again_by_whoever_opens_it_next(tmp_path: Path) -> None:
    path = tmp_path / "journal.sqlite"
    first = Journal(path)
    first.add(ONE)
    assert Journal(path).instance("1.1") == ONE
    assert Journal(path).instance("1.2") is None
    first.close()


def test_a_row_takes_the_place_of_the_one_before_also_in_another_study(tmp_path: Path) -> None:
    journal = Journal(tmp_path / "journal.sqlite")
    moved = replace(ONE, study_instance_uid="2", file="z.dcm")
    journal.add(ONE)
    journal.add(moved)
    assert journal.instances() == [moved]
    assert journal.instances("1") == []
    assert journal.instances("2") == [moved]


def test_a_study_that_an_instance_is_taken_from_is_receiving_again(tmp_path: Path) -> None:
    journal, later = Journal(tmp_path / "journal.sqlite"), ONE.received.replace("2026", "2027")
    journal.add(ONE)
    journal.complete(later, later)
    journal.settle(journal.studies()[0], "answered")
    journal.add(replace(ONE, study_instance_uid="2", received=later))
    assert [(each.study_instance_uid, each.revision, each.state, each.last_received) for each in journal.studies()] == [
        ("1", 2, "receiving", later),
        ("2", 1, "receiving", later),
    ]


def test_a_transaction_that_fails_leaves_nothing(tmp_path: Path) -> None:
    journal = Journal(tmp_path / "journal.sqlite")
    journal.add(ONE)
    with pytest.raises(sqlite3.IntegrityError):
        journal.add(replace(ONE, sop_instance_uid="1.2", sha256=None))  # type: ignore[arg-type]
    journal.add(replace(ONE, sop_instance_uid="1.3", file="w.dcm"))
    assert [each.sop_instance_uid for each in journal.instances()] == ["1.1", "1.3"]


def test_many_threads_add(tmp_path: Path) -> None:
    journal = Journal(tmp_path / "journal.sqlite")

    def add(first: int) -> None:
        for number in range(first, first + 20):
            journal.add(replace(ONE, sop_instance_uid=f"1.{number}", file=f"{number}.dcm"))

    threads = [threading.Thread(target=add, args=(place * 100,)) for place in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(journal.instances()) == 120


def test_it_is_written_through_to_the_disk(tmp_path: Path) -> None:
    journal = Journal(tmp_path / "journal.sqlite")
    assert journal._database.execute("PRAGMA journal_mode").fetchone() == ("wal",)
    assert journal._database.execute("PRAGMA synchronous").fetchone() == (2,)


def test_one_of_a_later_box_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "journal.sqlite"
    Journal(path).close()
    with sqlite3.connect(path) as database:
        database.execute(f"PRAGMA user_version = {len(MIGRATIONS) + 1}")
    database.close()
    with pytest.raises(ContractError, match="A later box wrote it"):
        Journal(path)
