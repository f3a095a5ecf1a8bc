"""Atomic, repeatable files."""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import sys
import textwrap
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import BinaryIO

import pytest

from pipeline import files

#: A process that may not write files beyond 1 KiB meets what a full disk gives: an OSError in the middle of a write.
FULL = """
import resource
from pathlib import Path
from pipeline import files
from pipeline.errors import StorageError

resource.setrlimit(resource.RLIMIT_FSIZE, (1024, 1024))
try:
    files.write_text(Path("kept.txt"), "new " * 1000)
except StorageError as error:
    print(error.retryable, error)
"""
#: Ends once nobody else holds a folder.
WAITS = """
import sys
from pathlib import Path
from pipeline.files import locked

with locked(Path(sys.argv[1])):
    pass
"""


def test_full_disk_keeps_the_old_file_and_leaves_no_part(tmp_path: Path) -> None:
    (tmp_path / "kept.txt").write_text("old")
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(FULL)], cwd=tmp_path, capture_output=True, text=True, check=True
    )
    assert done.stdout.startswith("True expected room on the disk for kept.txt; found ")
    assert "Free some space there" in done.stdout
    assert [path.name for path in tmp_path.iterdir()] == ["kept.txt"]
    assert (tmp_path / "kept.txt").read_text() == "old"


def test_error_in_the_middle_keeps_the_old_file(tmp_path: Path) -> None:
    path = tmp_path / "kept.txt"
    path.write_text("old")

    def half(handle: BinaryIO) -> None:
        handle.write(b"ne")
        raise ValueError("no")

    with pytest.raises(ValueError, match="no"):
        files.write_atomic(path, half)
    assert [item.name for item in tmp_path.iterdir()] == ["kept.txt"]
    assert path.read_text() == "old"


def test_error_that_is_not_about_room_stays_what_it_is(tmp_path: Path) -> None:
    (tmp_path / "folder").mkdir()
    with pytest.raises(IsADirectoryError):
        files.write_text(tmp_path / "folder", "text")
    assert [item.name for item in tmp_path.iterdir()] == ["folder"]


def test_folders_on_the_way_are_made(tmp_path: Path) -> None:
    files.write_text(tmp_path / "a/b/c.txt", "µ")
    assert (tmp_path / "a/b/c.txt").read_bytes() == "µ".encode()


def test_equal_values_give_equal_json_bytes(tmp_path: Path) -> None:
    files.write_json(tmp_path / "one.json", {"b": (1, 2), "a": {"z": 0.1, "y": None}})
    files.write_json(tmp_path / "two.json", {"a": {"y": None, "z": 0.1}, "b": [1, 2]})
    assert (tmp_path / "one.json").read_bytes() == (tmp_path / "two.json").read_bytes()


@pytest.mark.parametrize("undefined", [float("nan"), float("inf"), -float("inf")])
def test_undefined_figures_are_null_in_json(tmp_path: Path, undefined: float) -> None:
    files.write_json(tmp_path / "m.json", {"auroc": [undefined], "n": 1.5})
    assert json.loads((tmp_path / "m.json").read_text()) == {"auroc": [None], "n": 1.5}


def test_csv_keeps_its_columns_and_values(tmp_path: Path) -> None:
    rows = [{"series": "a,b", "label": "1"}, {"series": 'say "x"\ny', "label": ""}]
    files.write_csv(tmp_path / "t.csv", ["series", "label"], rows)
    assert (tmp_path / "t.csv").read_bytes().startswith(b"series,label\n")
    assert files.read_csv(tmp_path / "t.csv") == rows


def test_unknown_column_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="site"):
        files.write_csv(tmp_path / "t.csv", ["series"], [{"series": "a", "site": "b"}])


def test_sha256_is_that_of_the_bytes(tmp_path: Path) -> None:
    content = bytes(range(256)) * 5000
    (tmp_path / "x").write_bytes(content)
    assert files.sha256_file(tmp_path / "x") == hashlib.sha256(content).hexdigest()


def test_a_locked_folder_is_one_holders_alone(tmp_path: Path) -> None:
    code = (
        "import sys; from pathlib import Path; from pipeline.files import locked\nwith locked(Path(sys.argv[1])): pass"
    )
    with files.locked(tmp_path):
        other = subprocess.Popen([sys.executable, "-c", code, str(tmp_path)])
        with pytest.raises(subprocess.TimeoutExpired):
            other.wait(2)
    assert other.wait(60) == 0


def test_threads_hold_a_locked_folder_in_turn(tmp_path: Path) -> None:
    inside, most = [], []

    def work(_: int) -> None:
        with files.locked(tmp_path):
            inside.append(1)
            most.append(len(inside))
            inside.pop()

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(work, range(200)))
    assert most == [1] * 200


def test_every_file_and_folder_of_a_tree_is_synced(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "a/b").mkdir(parents=True)
    (tmp_path / "top").write_text("1")
    (tmp_path / "a/b/deep").write_text("2")
    synced: set[int] = set()
    monkeypatch.setattr(os, "fsync", lambda descriptor: synced.add(os.fstat(descriptor).st_ino))
    files.sync_tree(tmp_path)
    assert synced == {path.stat().st_ino for path in (tmp_path, *tmp_path.rglob("*"))}
