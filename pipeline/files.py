"""Writing files so that a reader sees the old content or the new, never half of it; and what files there are."""

from __future__ import annotations

import csv
import errno
import fcntl
import hashlib
import io
import json
import math
import os
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO

from pipeline.errors import StorageError

#: Error numbers that mean no room is left.
FULL = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}


def write_atomic(path: Path, write: Callable[[BinaryIO], Any]) -> None:
    """Call `write` on a temporary file beside `path`, fsync it and rename it into place.

    Raises:
        StorageError: the disk is full; `path` is then as it was before and no temporary file is left.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        with open(part, "wb") as handle:
            write(handle)
            handle.flush()
            os.fsync(handle.fileno())
        part.replace(path)
    except OSError as error:
        if error.errno in FULL:
            raise storage_full(path, error) from error
        raise
    finally:
        part.unlink(missing_ok=True)


def storage_full(path: Path, error: OSError) -> StorageError:
    """The error for a disk that has no room for `path`."""
    return StorageError(
        f"room on the disk for {path}",
        f"{error.strerror} after everything written before it was kept",
        "Free some space there (or move the folder to a larger disk) and run the same command again.",
    )


def sync_folder(folder: Path) -> None:
    """See that what was renamed into or out of a folder is on the disk."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def sync_tree(folder: Path) -> None:
    """See that every file below a folder, and the folders themselves, are on the disk."""
    for parent, _, names in os.walk(folder):
        for name in names:
            with open(Path(parent, name), "rb") as handle:
                os.fsync(handle.fileno())
        sync_folder(Path(parent))


@contextmanager
def locked(folder: Path, name: str = ".lock", waits: Callable[[], Any] | None = None) -> Iterator[None]:
    """Alone in a folder, among the threads and processes that ask so; others wait. The lock is its file `name`.

    A process that is killed lets go of it; a child that was started meanwhile does not hold it. `waits` is called
    before it waits for another.
    """
    with open(folder / name, "w") as handle:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            if waits is not None:
                waits()
            fcntl.flock(handle, fcntl.LOCK_EX)
        yield


def write_text(path: Path, text: str) -> None:
    """Write UTF-8 text atomically."""
    write_atomic(path, lambda handle: handle.write(text.encode()))


def write_json(path: Path, value: Any) -> None:
    """Write JSON atomically: sorted keys, two spaces, NaN as null, equal values give equal bytes."""
    write_text(path, json.dumps(_finite(value), indent=2, sort_keys=True, ensure_ascii=False, allow_nan=False) + "\n")


def _finite(value: Any) -> Any:
    """NaN and infinities as None: JSON has no word for them."""
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, Mapping):
        return {str(key): _finite(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_finite(item) for item in value]
    return value


def write_csv(path: Path, columns: Iterable[str], rows: Iterable[Mapping[str, Any]]) -> None:
    """Write rows as CSV atomically, with these columns in this order."""
    text = io.StringIO()
    writer = csv.DictWriter(text, list(columns), lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    write_text(path, text.getvalue())


def read_csv(path: Path) -> list[dict[str, str]]:
    """All rows of a CSV that a stage wrote."""
    with open(path, newline="", encoding="utf-8") as handle:
        return list(csv.DictReader(handle))


def read_json(path: Path) -> Any:
    """The content of a JSON file that a stage wrote."""
    return json.loads(path.read_text(encoding="utf-8"))


def sha256_file(path: Path) -> str:
    """SHA-256 of a file's bytes, as lower-case hex."""
    with open(path, "rb") as handle:
        return hashlib.file_digest(handle, "sha256").hexdigest()


def walk(folder: Path) -> Iterator[str]:
    """Every file below `folder`, whatever its name, folder by folder; a folder linked twice is read once.

    A folder that cannot be listed stands there itself, at the end, so that it is not lost. Text, as a million of `Path`
    take ten seconds.
    """
    seen: set[tuple[int, int]] = set()
    shut: list[str] = []
    for parent, folders, names in os.walk(folder, onerror=lambda error: shut.append(error.filename), followlinks=True):
        status = os.stat(parent)  # noqa: PTH116 - of each folder
        if (status.st_dev, status.st_ino) in seen:
            folders.clear()
            continue
        seen.add((status.st_dev, status.st_ino))
        folders.sort()
        # Not os.path.join, which takes longer than all the rest.
        for name in sorted(names):
            yield f"{parent}/{name}"
    yield from sorted(shut)
