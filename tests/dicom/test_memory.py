"""The memory of ingest has one user at a time, and says what is wrong with its file."""

from __future__ import annotations

import sqlite3
import threading
from contextlib import closing

import pytest

from pipeline.dicom.memory import Memory
from pipeline.dicom.pseudonym import PUBLIC_DEMO_KEY, Pseudonyms
from pipeline.errors import StorageError
from tests.waiting import within

NAMES = Pseudonyms(PUBLIC_DEMO_KEY)


@pytest.fixture
def full(tmp_path):
    """A memory of many rows, and their keys."""
    with closing(Memory(tmp_path, NAMES)) as memory:
        keys = [memory.digest("series", str(number)) for number in range(2000)]
        for key in keys:
            memory.add_series(key, ["x" * 100], "P-000000000000")
    return tmp_path, keys


def test_a_second_one_waits_for_the_first(tmp_path, capsys):
    second = threading.Thread(target=lambda: Memory(tmp_path, NAMES).close(), daemon=True)
    with closing(Memory(tmp_path, NAMES)):
        second.start()
        assert within(10, lambda: "waits for another ingest" in capsys.readouterr().err)
        assert second.is_alive()
    second.join(10)
    assert not second.is_alive()


def test_what_is_no_database_is_begun_anew(full):
    folder, keys = full
    (folder / "known.sqlite").write_bytes(b"something else " * 1000)
    with closing(Memory(folder, NAMES)) as memory:
        assert memory.series(keys[0]) is None


def test_damage_found_on_the_way_is_an_error_that_says_what_to_do(full):
    folder, keys = full
    with open(folder / "known.sqlite", "r+b") as file:
        size = file.seek(0, 2)
        file.seek(3 * 4096)
        file.write(b"\xff" * (size - 3 * 4096))
    with pytest.raises(StorageError, match="delete that folder"), closing(Memory(folder, NAMES)) as memory:
        list(map(memory.series, keys))


def test_what_is_out_of_reach_is_not_thrown_away(full, monkeypatch):
    folder, keys = full
    connect = sqlite3.connect
    with closing(connect(folder / "known.sqlite", isolation_level=None)) as other:
        other.execute("BEGIN EXCLUSIVE")
        monkeypatch.setattr(sqlite3, "connect", lambda path, timeout: connect(path, timeout=0))
        with pytest.raises(StorageError, match="`database is locked`"):
            Memory(folder, NAMES)
    with closing(Memory(folder, NAMES)) as memory:
        assert memory.series(keys[0]) == ["x" * 100]
