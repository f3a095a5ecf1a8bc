"""How often the test set was opened, and for what: lines in git that are only ever added.

A test set says something about a model only as long as nobody chose by it. So the stage `validate` writes a line before
it looks at the answers for test patients. An identical look (same model, calibration and split) adds nothing.

Each line holds the SHA-256 of an earlier one, so that none can be changed, or taken out of the middle, unnoticed; the
file must also begin with what git's HEAD has of it, so that none can be taken off the end. In a file that was never
merged the earlier line is the one before; where branches were merged, it is the one that it followed in its branch.
"""

from __future__ import annotations

import csv
import errno
import fcntl
import hashlib
import os
import subprocess
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, BinaryIO

from pipeline.errors import LedgerError
from pipeline.files import FULL, storage_full

COLUMNS = ("time", "split_sha256", "model_sha256", "calibration_sha256", "test_units", "previous")
HEADER = ",".join(COLUMNS)


@dataclass(frozen=True)
class Key:
    """What the test set is opened for.

    `split_sha256` is of the patients and their sides (`split.content_sha256`), not of the file: rows in another order,
    or another word for a site, are no other test set.
    """

    split_sha256: str
    model_sha256: str
    calibration_sha256: str


@dataclass(frozen=True)
class Count:
    """What the ledger says of a test set.

    Attributes:
        opened: lines of this split.
        models: different models among them.
        threshold_moved: this model was opened before with another calibration, on whatever split, as patients that are
            dealt anew were mostly seen before; not so for its first calibration, which alone was fixed before anybody
            could know how it does on test patients.
        splits: different splits in the whole ledger.
        model_splits: those that this very model was opened on. With more than one, patients that it learnt from under
            one may be test patients of another.
    """

    key: Key
    opened: int
    models: int
    threshold_moved: bool
    splits: int
    model_splits: int

    def figures(self) -> dict[str, Any]:
        """As it stands in reports/metrics.json."""
        found = asdict(self)
        return {**found.pop("key"), **found}


def place(project: Path, name: Path) -> Path:
    """Where the ledger is: in the project, or, for an experiment that DVC runs in a copy, in the project it came from.

    `dvc exp run --temp` and queued ones work in `.dvc/tmp/exps/<copy>`, which is thrown away afterwards.
    """
    for folder in project.absolute().parents:
        if folder.parts[-3:] == (".dvc", "tmp", "exps"):
            return folder.parents[2] / name
    return project / name


def record(path: Path, key: Key, test_units: int) -> Count:
    """Write the line of this opening, unless there is one, and count; the line is on the disk when this returns.

    Raises:
        LedgerError: the ledger is damaged, cannot be written, or lacks lines that git has.
        StorageError: the disk is full; the ledger is then as it was before.
    """
    with _opened(path) as handle:
        fcntl.flock(handle, fcntl.LOCK_EX)
        handle.seek(0)
        content = handle.read()
        keys, lines = _keys(path, content), _lines(path, content)
        if key not in keys:
            time = datetime.now(UTC).isoformat(timespec="seconds")
            values = [time, *asdict(key).values(), str(test_units), _digest(lines[-1] if lines else HEADER)]
            new = [",".join(values)] if lines else [HEADER, ",".join(values)]
            _append(handle, path, len(content), "".join(f"{line}\n" for line in new).encode())
            keys.append(key)
    return _count(key, keys)


def counted(path: Path, key: Key) -> Count | None:
    """What the ledger says of an opening by now; None where it has no such line, or there is no ledger.

    Raises:
        LedgerError: the ledger is damaged, cannot be read, or lacks lines that git has.
    """
    if not path.exists():
        return None
    with _opened(path) as handle:
        fcntl.flock(handle, fcntl.LOCK_SH)
        handle.seek(0)
        keys = _keys(path, handle.read())
    return _count(key, keys) if key in keys else None


def take_over(other: Path, path: Path) -> None:
    """Add the lines that another copy of this ledger has and this one has not, such as that of a run that was killed.

    Every chain begins with the header, so what the other's lines follow is here, too.

    Raises:
        LedgerError: one of the two is damaged, or cannot be written.
        StorageError: the disk is full; the ledger is then as it was before.
    """
    theirs = _lines(other, other.read_bytes()) if other.is_file() else []
    _rows(other, theirs)
    with _opened(path) as handle:
        fcntl.flock(handle, fcntl.LOCK_EX)
        handle.seek(0)
        content = handle.read()
        own = _lines(path, content)
        new = [line for line in theirs if line not in own]
        if new:
            _append(handle, path, len(content), "".join(f"{line}\n" for line in new).encode())


def _keys(path: Path, content: bytes) -> list[Key]:
    """The openings, if the file is whole."""
    _check_begins_with(path, content, _committed(path))
    rows = _rows(path, _lines(path, content))
    return [Key(row["split_sha256"], row["model_sha256"], row["calibration_sha256"]) for row in rows]


def _opened(path: Path) -> BinaryIO:
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        return open(path, "a+b")
    except (PermissionError, IsADirectoryError) as error:
        expected, remedy = f"a ledger of the test set that can be written in {path}", "Give this user the right to it."
        raise LedgerError(expected, str(error.strerror), remedy) from error


def _count(key: Key, keys: Sequence[Key]) -> Count:
    split = [other for other in keys if other.split_sha256 == key.split_sha256]
    first = next(other for other in keys if other.model_sha256 == key.model_sha256)
    return Count(
        key=key,
        opened=len(set(split)),  # a merge may bring one from either side
        models=len({other.model_sha256 for other in split}),
        threshold_moved=first.calibration_sha256 != key.calibration_sha256,
        splits=len({other.split_sha256 for other in keys}),
        model_splits=len({other.split_sha256 for other in keys if other.model_sha256 == key.model_sha256}),
    )


def _append(handle: BinaryIO, path: Path, size: int, line: bytes) -> None:
    try:
        handle.write(line)
        handle.flush()
        os.fsync(handle.fileno())
    except OSError as error:
        os.ftruncate(handle.fileno(), size)
        if error.errno in FULL:
            raise storage_full(path, error) from error
        raise


def _lines(path: Path, content: bytes) -> list[str]:
    text = content.decode("utf-8", errors="replace")
    if text and not text.endswith("\n"):
        raise _damaged(path, "a last line that is not finished", "take that line out")
    lines = text.split("\n")[:-1]
    if lines and lines[0] != HEADER:
        raise _damaged(path, "another first line", "put it back")
    return lines


def _rows(path: Path, lines: Sequence[str]) -> list[dict[str, str]]:
    """The openings, if each follows an earlier line."""
    known, rows = {_digest(HEADER)}, []
    for number, line in enumerate(lines[1:], start=2):
        cells = next(csv.reader([line]), [])
        if len(cells) != len(COLUMNS):
            remedy = "after a merge keep the lines of both sides, without git's marks"
            raise _damaged(path, f"line {number} of {len(cells)} cells, not {len(COLUMNS)}", remedy)
        if cells[-1] not in known:
            raise _damaged(path, f"line {number} follows a line that is not there: one was changed or taken out", "")
        known.add(_digest(line))
        rows.append(dict(zip(COLUMNS, cells, strict=True)))
    return rows


def _check_begins_with(path: Path, content: bytes, committed: bytes | None) -> None:
    if committed is not None and not content.startswith(committed):
        have, had = content.count(b"\n"), committed.count(b"\n")
        raise LedgerError(
            f"{path} to begin with what git's HEAD has of it ({had} lines)",
            f"{have} lines, of which some were changed or taken out",
            f"Lines may only be added. After `dvc exp apply`, or an edit: `git checkout HEAD -- {path}`.",
        )


def _committed(path: Path) -> bytes | None:
    """The ledger as git's HEAD has it; None where there is no git, no commit, or no ledger in it."""
    command = ["git", "-C", str(path.parent), "show", f"HEAD:./{path.name}"]
    try:
        shown = subprocess.run(command, capture_output=True, check=False)
    except OSError as error:
        if error.errno == errno.ENOENT:
            return None
        raise
    return shown.stdout if shown.returncode == 0 else None


def _damaged(path: Path, found: str, remedy: str) -> LedgerError:
    return LedgerError(
        f"an undamaged ledger of the test set in {path}",
        found,
        f"Bring back the version of git (`git checkout HEAD -- {path}`)" + (f", or {remedy}." if remedy else "."),
    )


def _digest(line: str) -> str:
    return hashlib.sha256(line.encode()).hexdigest()
