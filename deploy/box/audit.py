"""The audit trail: DICOM audit messages, each line with the hash of the one before, in one file a day.

A line that was changed, taken out or put in breaks the chain. Lines cut off at the end are told by `head.json`, which
names the last line. Who may write to the folder can make both anew; then only a head that was noted elsewhere tells.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path

from deploy.box.audit_messages import Event, xml
from pipeline.errors import DataError, StorageError
from pipeline.files import locked, write_json

_HEAD = "head.json"
_FILES = "????-??-??.jsonl"


@dataclass(frozen=True)
class Head:
    """The last line: its number, counted from 1, and its SHA-256."""

    number: int = 0
    sha256: str = "0" * 64


@dataclass(frozen=True)
class Place:
    """Up to where the trail was read: a file of it, and so many bytes."""

    file: str = ""
    offset: int = 0


class Audit:
    """The trail of a box; for several threads and processes, one of which writes at a time."""

    def __init__(self, folder: Path, source: str) -> None:
        """Go on where the trail ends.

        Args:
            folder: of the trail, made for nobody else to read.
            source: the box's AE title.

        Raises:
            DataError: its last line or its head cannot be read.
        """
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        self._folder, self._source = folder, source
        with locked(folder):
            head, last = _head(folder), _last(folder)
            # A stop between a line and its head leaves the head one behind.
            if last is not None and last.number == head.number + 1:
                write_json(folder / _HEAD, asdict(last))

    def record(self, event: Event) -> None:
        """Add an event; it is on the disk when this returns.

        Raises:
            OSError, StorageError: the disk is full or failed.
            DataError: the head cannot be read.
        """
        with locked(self._folder):
            head, now = _head(self._folder), datetime.now(UTC)
            told = {
                "number": head.number + 1,
                "time": now.isoformat(timespec="milliseconds"),
                "previous": head.sha256,
                "message": xml(event, self._source),
            }
            line = json.dumps(told, ensure_ascii=False).encode() + b"\n"
            self._append(self._folder / f"{now:%Y-%m-%d}.jsonl", line, Head(head.number + 1, _hash(line)))

    def _append(self, path: Path, line: bytes, head: Head) -> None:
        """The line and its head, or neither."""
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_APPEND, 0o600)
        # No buffer, of which a rest would be written when it is closed.
        with open(descriptor, "ab", buffering=0) as handle:
            before = os.fstat(descriptor).st_size
            try:
                rest = line
                while rest:
                    rest = rest[handle.write(rest) :]
                os.fsync(descriptor)
                write_json(self._folder / _HEAD, asdict(head))
            except (OSError, StorageError):
                os.ftruncate(descriptor, before)
                raise


def verify(folder: Path, noted: Head | None = None) -> Head:
    """Read the whole trail.

    Args:
        folder: of the trail.
        noted: a head of before, kept elsewhere.

    Returns:
        The head; noted elsewhere, it tells later whether the trail up to here was made anew.

    Raises:
        DataError: the chain is broken, or the end is missing; the message says where, and quotes nothing.
    """
    with locked(folder):
        # The box goes on writing while this is read.
        head, sizes = _head(folder), _sizes(folder)
    return _verified(sizes, head, noted)


def messages(folder: Path) -> Iterator[str]:
    """Every message, the oldest first, as XML.

    Raises:
        DataError: a line is no record.
    """
    for path, place, line in _lines(_sizes(folder)):
        yield str(_read(path, place, line)["message"])


def since(folder: Path, place: Place, most: int) -> list[tuple[dict[str, object], Place]]:
    """Records after a place, the oldest first, each with the place after it.

    Args:
        folder: of the trail.
        place: up to which it was read.
        most: of them.

    Raises:
        DataError: a line is no record.
    """
    found: list[tuple[dict[str, object], Place]] = []
    with locked(folder):
        for path in sorted(folder.glob(_FILES)):
            if path.name < place.file:
                continue
            offset = place.offset if path.name == place.file else 0
            with open(path, "rb") as handle:
                handle.seek(offset)
                for line in handle:
                    if len(found) == most or not line.endswith(b"\n"):
                        break
                    offset += len(line)
                    found.append((_record(path, f"before byte {offset}", line), Place(path.name, offset)))
    return found


def _verified(sizes: Mapping[Path, int], head: Head, noted: Head | None) -> Head:
    before, found, seen = Head(), Head(), noted is None or noted.number == 0
    for path, place, line in _lines(sizes):
        told = _read(path, place, line)
        where = f"line {place} of {path.name}"
        if told["number"] != found.number + 1:
            raise _broken(f"record {found.number + 1} in {where}", f"record {told['number']}")
        if told["previous"] != found.sha256:
            raise _broken(f"the hash of record {found.number} in {where}", "another")
        before, found = found, Head(found.number + 1, _hash(line))
        seen = seen or found == noted
    if head not in (found, before):
        raise _broken(f"{head.number} records, as {_HEAD} says", f"{found.number}")
    if not seen:
        raise _broken(f"record {noted.number if noted else 0} as it was noted", "none, or another")
    return found


def _broken(expected: str, found: str) -> DataError:
    return DataError(expected, found, "The trail was cut or altered there, or a disk lost it; compare with a backup.")


def _sizes(folder: Path) -> dict[Path, int]:
    """Bytes of each file, the oldest first."""
    return {path: path.stat().st_size for path in sorted(folder.glob(_FILES))}


def _lines(sizes: Mapping[Path, int]) -> Iterator[tuple[Path, int, bytes]]:
    """File, place and content of each whole line in the first so many bytes of each file."""
    for path, size in sizes.items():
        content = path.read_bytes()[:size]
        for place, line in enumerate(content[: _whole(content)].splitlines(keepends=True), start=1):
            yield path, place, line


def _read(path: Path, place: int, line: bytes) -> dict[str, object]:
    return _record(path, f"in line {place}", line)


def _record(path: Path, where: str, line: bytes) -> dict[str, object]:
    try:
        told = json.loads(line)
        if set(told) == {"number", "time", "previous", "message"}:
            return dict(told)
    except (ValueError, TypeError):
        pass
    raise _broken(f"a record {where} of {path.name}", "something else")


def _last(folder: Path) -> Head | None:
    """The last line; what was torn after it when the machine lost power was never one, and goes."""
    files = sorted(folder.glob(_FILES), reverse=True)
    if not files:
        return None
    content = files[0].read_bytes()
    if len(content) > _whole(content):
        os.truncate(files[0], _whole(content))
    lines = content[: _whole(content)].splitlines(keepends=True)
    if not lines:
        return None
    return Head(int(str(_read(files[0], len(lines), lines[-1])["number"])), _hash(lines[-1]))


def _head(folder: Path) -> Head:
    path = folder / _HEAD
    if not path.is_file():
        return Head()
    try:
        return Head(**json.loads(path.read_text(encoding="utf-8")))
    except (ValueError, TypeError) as error:
        raise _broken(f"the head of the trail in {_HEAD}", "something else") from error


def _whole(content: bytes) -> int:
    """How many bytes of it are whole lines."""
    return content.rfind(b"\n") + 1


def _hash(line: bytes) -> str:
    return hashlib.sha256(line).hexdigest()
