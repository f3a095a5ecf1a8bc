import errno
import os
import subprocess
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from pipeline.clinical import ledger
from pipeline.clinical.ledger import Key, place, record
from pipeline.errors import LedgerError, StorageError

FIRST = Key("split", "model", "calibration")


@pytest.fixture
def path(tmp_path):
    return tmp_path / "reports/ledger.csv"


def git(folder, *arguments):
    who = ["-c", "user.name=A", "-c", "user.email=a@example.org", "-c", "init.defaultBranch=main"]
    subprocess.run(["git", "-C", str(folder), *who, *arguments], check=True, capture_output=True)


@pytest.fixture
def project(root, tmp_path, path):
    """A project in git whose ledger has one line."""
    git(tmp_path, "init")
    (tmp_path / ".gitattributes").write_bytes((root / ".gitattributes").read_bytes())
    record(path, FIRST, 20)
    git(tmp_path, "add", ".")
    git(tmp_path, "commit", "-m", "one")
    return tmp_path


def test_the_shipped_ledger_is_whole(root):
    assert (root / "reports/ledger.csv").read_text().splitlines()[0] == ledger.HEADER
    ignored = subprocess.run(["git", "-C", str(root), "check-ignore", "reports/ledger.csv"], capture_output=True)
    assert ignored.returncode == 1


def test_each_opening_is_a_line_and_an_identical_one_adds_nothing(path):
    assert record(path, FIRST, 20).opened == 1
    before = path.read_bytes()
    again = record(path, FIRST, 20)
    assert (again.opened, again.models, again.threshold_moved) == (1, 1, False)
    assert path.read_bytes() == before
    other = record(path, Key("split", "another", "calibration"), 20)
    assert (other.opened, other.models, other.threshold_moved) == (2, 2, False)
    assert path.read_bytes().startswith(before)
    elsewhere = record(path, Key("other split", "model", "calibration"), 30)
    assert (elsewhere.opened, elsewhere.models, elsewhere.splits) == (1, 1, 2)
    header, line, *_ = path.read_text().splitlines()
    assert header == "time,split_sha256,model_sha256,calibration_sha256,test_units,previous"
    time, *named = line.split(",")
    assert time.endswith("+00:00")
    assert named[:4] == ["split", "model", "calibration", "20"]
    assert again.figures() == {
        "split_sha256": "split",
        "model_sha256": "model",
        "calibration_sha256": "calibration",
        "opened": 1,
        "models": 1,
        "threshold_moved": False,
        "splits": 1,
        "model_splits": 1,
    }


def test_another_calibration_of_the_same_model_is_a_moved_threshold(path):
    record(path, FIRST, 20)
    moved = Key("split", "model", "moved")
    assert record(path, moved, 20).threshold_moved
    assert record(path, moved, 20).threshold_moved
    assert not record(path, FIRST, 20).threshold_moved  # the one that was fixed before anybody had looked


def test_a_moved_threshold_stays_one_on_another_split(path):
    record(path, FIRST, 20)
    elsewhere = record(path, Key("other", "model", "moved"), 20)
    assert (elsewhere.opened, elsewhere.splits, elsewhere.threshold_moved) == (1, 2, True)
    assert elsewhere.model_splits == 2
    assert not record(path, Key("other", "model", "calibration"), 20).threshold_moved
    another = record(path, Key("other", "another model", "moved"), 20)
    assert (another.threshold_moved, another.splits, another.model_splits) == (False, 2, 1)


@pytest.mark.parametrize("line", [1, 2])
def test_a_line_that_was_changed_is_noticed(path, line):
    for name in "abc":
        record(path, Key("split", name, "calibration"), 20)
    lines = path.read_text().splitlines(keepends=True)
    changed = [*lines[:line], lines[line].replace("calibration", "Calibration"), *lines[line + 1 :]]
    path.write_text("".join(changed))
    with pytest.raises(LedgerError, match=f"line {line + 2} follows a line that is not there"):
        record(path, FIRST, 20)
    path.write_text("".join([*lines[:line], *lines[line + 1 :]]))
    with pytest.raises(LedgerError, match=f"line {line + 1} follows a line that is not there"):
        record(path, FIRST, 20)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("a,b\n", "another first line"),
        (f"{ledger.HEADER}\nx,y", "not finished"),
        (f"{ledger.HEADER}\n<<<<<<< ours\n", "line 2 of 1 cells, not 6.*keep the lines of both sides"),
        (f"{ledger.HEADER}\n\n", "line 2 of 0 cells"),
        ("\udcff".encode("utf-8", "surrogateescape").decode("latin-1") + "\n", "another first line"),
    ],
)
def test_what_is_no_ledger_is_left_as_it_is(path, content, message):
    path.parent.mkdir()
    path.write_text(content)
    with pytest.raises(LedgerError, match=message):
        record(path, FIRST, 20)
    assert path.read_text() == content


def test_lines_that_git_has_must_be_there(project, path):
    record(path, Key("split", "another", "calibration"), 20)
    git(project, "commit", "-am", "two")
    whole = path.read_text()
    path.write_text("".join(whole.splitlines(keepends=True)[:2]))
    with pytest.raises(LedgerError, match=r"\(3 lines\); found 2 lines"):
        record(path, FIRST, 20)
    path.unlink()
    with pytest.raises(LedgerError, match="found 0 lines"):
        record(path, FIRST, 20)
    path.write_text(whole)
    assert record(path, FIRST, 20).opened == 2


def test_in_a_clean_clone_the_count_goes_on(project, tmp_path_factory):
    clone = tmp_path_factory.mktemp("clone") / "project"
    git(project, "clone", ".", str(clone))
    assert record(clone / "reports/ledger.csv", FIRST, 20).opened == 1
    assert record(clone / "reports/ledger.csv", Key("split", "another", "calibration"), 20).opened == 2


def test_branches_are_merged_and_the_lines_of_both_count(project, path):
    git(project, "checkout", "-b", "side")
    record(path, Key("split", "side", "calibration"), 20)
    git(project, "commit", "-am", "side")
    git(project, "checkout", "main")
    record(path, Key("split", "main", "calibration"), 20)
    git(project, "commit", "-am", "main")
    git(project, "merge", "side", "-m", "both")
    assert record(path, Key("split", "after", "calibration"), 20).opened == 4


def test_an_experiment_in_a_copy_writes_to_the_project_that_it_came_from(tmp_path):
    name = Path("reports/ledger.csv")
    copy = tmp_path / "project/.dvc/tmp/exps/tmp1234"
    assert place(copy, name) == tmp_path / "project/reports/ledger.csv"
    assert place(copy / "deeper", name) == tmp_path / "project/reports/ledger.csv"
    assert place(tmp_path / "project", name) == tmp_path / "project/reports/ledger.csv"


def test_at_once_each_line_is_whole(path):
    keys = [Key("split", f"m{number}", "calibration") for number in range(12)] * 2
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda key: record(path, key, 20), keys))
    assert record(path, keys[0], 20).opened == 12
    assert len(path.read_text().splitlines()) == 13


def test_a_ledger_that_cannot_be_written_opens_nothing(path):
    path.mkdir(parents=True)
    with pytest.raises(LedgerError, match="can be written"):
        record(path, FIRST, 20)


def test_a_full_disk_leaves_the_ledger_as_it_was(path, monkeypatch):
    record(path, FIRST, 20)
    before = path.read_bytes()

    def full(_descriptor):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(StorageError, match="room on the disk"):
        record(path, Key("split", "another", "calibration"), 20)
    assert path.read_bytes() == before


def test_an_opening_is_counted_again_without_another_line(path):
    assert ledger.counted(path, FIRST) is None
    found = record(path, FIRST, 20)
    before = path.read_bytes()
    assert ledger.counted(path, FIRST) == found
    record(path, Key(FIRST.split_sha256, "another model", "calibration"), 20)
    assert ledger.counted(path, FIRST).opened == found.opened + 1
    assert ledger.counted(path, Key("unknown", "model", "calibration")) is None
    assert path.read_bytes().startswith(before)
    path.write_bytes(before.replace(b",20,", b",21,", 1) + path.read_bytes()[len(before) :])
    with pytest.raises(LedgerError):
        ledger.counted(path, FIRST)
