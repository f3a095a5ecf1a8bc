"""Whether the box lives, and whether it can do its work, with reasons; nothing in them is of a study."""

from __future__ import annotations

import shutil
import sqlite3
import threading
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from deploy.box.journal import Journal
from deploy.box.releases import Releases
from deploy.box.settings import Settings
from deploy.box.watch import Watch
from pipeline.errors import ContractError
from pipeline.files import sha256_file
from pipeline.inference import signature

#: For so long an answer holds: whoever asks without a token cannot have the disk written to all the time.
_HOLDS_S = 2.0


@dataclass(frozen=True)
class Check:
    """One thing that must be right; `reason` says what is not."""

    name: str
    reason: str = ""

    @property
    def passed(self) -> bool:
        """Whether it is."""
        return not self.reason


class Health:
    """For several threads."""

    def __init__(
        self, settings: Settings, journal: Journal, watch: Watch, releases: Releases, threads: Sequence[str]
    ) -> None:
        """Nothing is looked at yet.

        Args:
            settings: of the box.
            journal: that must take what comes.
            watch: knows of the worker.
            releases: of which one answers.
            threads: names of those that must be at work.
        """
        self._settings, self._journal, self._watch = settings, journal, watch
        self._releases, self._threads = releases, threads
        self._lock, self._checked, self._found = threading.Lock(), 0.0, list[Check]()

    def live(self) -> list[Check]:
        """Whether every thread of the box is at work."""
        alive = {thread.name for thread in threading.enumerate()}
        return [Check(name, "" if name in alive else "the thread has ended") for name in self._threads]

    def ready(self) -> list[Check]:
        """Whether studies can be received and answered now."""
        with self._lock:
            if not self._found or time.monotonic() > self._checked + _HOLDS_S:
                self._found = [self._release(), self._worker(), self._disk(), self._written(), self._audited()]
                self._checked = time.monotonic()
            return self._found

    def free_bytes(self) -> int:
        """Of the disk that the box's state is on."""
        return shutil.disk_usage(self._settings.state).free

    def _release(self) -> Check:
        try:
            sha256 = self._releases.chosen().answering
            same = sha256_file(self._releases.path(sha256) / signature.SUMS) == sha256
        except (OSError, ContractError) as error:
            return Check("release", f"its checksums cannot be read: {type(error).__name__}")
        return Check("release", "" if same else "it is not the one that was verified")

    def _worker(self) -> Check:
        return Check("worker", self._watch.worker_trouble or "")

    def _disk(self) -> Check:
        wanted, free = self._settings.receive.keep_free_mb, self.free_bytes() // 2**20
        return Check("disk", "" if free >= wanted else f"{free} MiB free, of which {wanted} are kept: nothing is taken")

    def _written(self) -> Check:
        try:
            with self._journal.transaction() as database:
                (version,) = database.execute("PRAGMA user_version").fetchone()
                database.execute(f"PRAGMA user_version = {version}")
        except sqlite3.Error as error:
            return Check("journal", f"it cannot be written: {type(error).__name__}")
        return Check("journal")

    def _audited(self) -> Check:
        return Check("audit", self._watch.trail.trouble or "")


def said(checks: Sequence[Check]) -> Mapping[str, object]:
    """As JSON."""
    return {"ok": all(check.passed for check in checks), "checks": {each.name: each.reason or "ok" for each in checks}}
