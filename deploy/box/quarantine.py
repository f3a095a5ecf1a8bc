"""What was refused, for an administrator to look at: the newest of it, each with the reason."""

from __future__ import annotations

import json
import secrets
import threading
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from pipeline.files import write_atomic, write_text

CONTENT, REASON = ".received", ".json"
#: Of instances: each is looked at whenever one is added.
MOST = 1_000
#: What names begin with: the time in UTC, so that their order is its.
_NAME = "%Y%m%dT%H%M%S%f"


@dataclass(frozen=True)
class Refused:
    """What was refused: when (UTC, ISO 8601), how much is kept of it, and why."""

    time: str
    bytes: int
    reason: str


class Quarantine:
    """A folder of at most so many bytes and `MOST` instances, the newest; nothing in it is ever read by the box."""

    def __init__(self, folder: Path, most_bytes: int) -> None:
        """Make the folder."""
        self._folder, self._most, self._lock = folder, most_bytes, threading.Lock()
        folder.mkdir(parents=True, exist_ok=True)

    def add(self, content: bytes, reason: str) -> None:
        """Keep what was refused where there is room for it; what is refused was never acknowledged.

        Raises:
            OSError, StorageError: the disk is full or failed.
        """
        now = datetime.now(UTC)
        path = self._folder / f"{now:{_NAME}}-{secrets.token_hex(4)}"
        with self._lock:
            self._make_room(len(content))
            write_atomic(path.with_suffix(CONTENT), lambda handle: handle.write(content[: self._most]))
            write_text(path.with_suffix(REASON), json.dumps({"time": now.isoformat(), "reason": reason}) + "\n")

    def forget(self, before: datetime) -> int:
        """Remove what was refused before a time, in UTC; how many instances that is."""
        removed = 0
        with self._lock:
            for path in list(self._folder.iterdir()):
                # What a stop left half-written begins with a dot.
                if path.name.lstrip(".") < f"{before:{_NAME}}":
                    path.unlink(missing_ok=True)
                    removed += path.suffix == CONTENT
        return removed

    def _make_room(self, wanted: int) -> None:
        held = [(path, path.stat().st_size) for path in sorted(self._folder.glob(f"*{CONTENT}"))]
        total = sum(size for _, size in held)
        for after, (path, size) in enumerate(held):
            if total + wanted <= self._most and len(held) - after < MOST:
                return
            path.unlink()
            path.with_suffix(REASON).unlink(missing_ok=True)
            total -= size


def latest(folder: Path, most: int) -> list[Refused]:
    """The newest of a quarantine; what goes meanwhile is left out."""
    found = []
    for path in sorted(folder.glob(f"*{REASON}"), reverse=True)[:most]:
        with suppress(FileNotFoundError):
            told = json.loads(path.read_text(encoding="utf-8"))
            size = path.with_suffix(CONTENT).stat().st_size
            found.append(Refused(told["time"], size, told["reason"]))
    return found
