"""What a box forgets: what was received once it was answered, results once they were sent, and what was refused.

Each goes after so many days.
"""

from __future__ import annotations

import logging
import sqlite3
import threading
from collections.abc import Callable
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path

from deploy.box.journal import Journal, stamp
from deploy.box.quarantine import Quarantine
from deploy.box.settings import Retention

_LOG = logging.getLogger(__name__)

#: Nothing of them waits: neither to be answered, nor to be sent.
_RECEIVED = """
    SELECT sop_instance_uid, file FROM instances JOIN studies USING (study)
    WHERE (state = 'answered' AND last_received < ?1 AND settled < ?1)
        OR (state = 'failed' AND last_received < ?2 AND settled < ?2)
"""
_RESULTS = """
    SELECT sop_instance_uid, file FROM results JOIN studies USING (study)
    WHERE answered < ? AND studies.state IN ('answered', 'failed') AND NOT EXISTS
    (SELECT 1 FROM deliveries WHERE deliveries.sop_instance_uid = results.sop_instance_uid
        AND deliveries.state IN ('queued', 'dead'))
"""
_STUDIES = """
    state IN ('answered', 'failed') AND last_received < ?
    AND NOT EXISTS (SELECT 1 FROM instances WHERE instances.study = studies.study)
    AND NOT EXISTS (SELECT 1 FROM results WHERE results.study = studies.study)
"""


class Forgetting:
    """Looks once in a while for what is old enough."""

    def __init__(
        self,
        journal: Journal,
        incoming: Path,
        results: Path,
        quarantine: Quarantine,
        settings: Retention,
        now: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        """Nothing is removed yet.

        Args:
            journal: of what there is.
            incoming, results: the folders of the files.
            quarantine: of what was refused.
            settings: how long each is kept.
            now: the time, in UTC.
        """
        self._journal, self._settings, self._now = journal, settings, now
        self._incoming, self._results, self._quarantine = incoming, results, quarantine

    def run(self, stop: threading.Event, every_s: float = 600.0) -> None:
        """Until `stop` is set."""
        while True:
            try:
                self.round()
                self.refused()
            except (OSError, sqlite3.Error) as error:
                _LOG.error("nothing was removed, which is tried again: %s", error)
            if stop.wait(every_s):
                return

    def round(self) -> tuple[int, int, int]:
        """Remove what is old enough; how many instances, results and studies that were.

        A row goes before its file: what a stop in between leaves is swept at the next start.
        """
        kept = self._settings
        with self._journal.transaction() as database:
            times = (self._before(kept.answered_days), self._before(kept.failed_days))
            received = database.execute(_RECEIVED, times).fetchall()
            made = database.execute(_RESULTS, (self._before(kept.results_days),)).fetchall()
            gone, uids = [(uid,) for uid, _ in received], [(uid,) for uid, _ in made]
            database.executemany(
                "INSERT INTO forgotten SELECT sop_instance_uid, study FROM instances WHERE sop_instance_uid = ?", gone
            )
            database.executemany("DELETE FROM instances WHERE sop_instance_uid = ?", gone)
            database.executemany("DELETE FROM deliveries WHERE sop_instance_uid = ?", uids)
            database.executemany("DELETE FROM results WHERE sop_instance_uid = ?", uids)
            last = (self._before(max(kept.results_days, kept.failed_days)),)
            for table in ("shadows", "forgotten"):
                database.execute(
                    f"DELETE FROM {table} WHERE study IN (SELECT study FROM studies WHERE {_STUDIES})",  # noqa: S608
                    last,
                )
            studies = database.execute(f"DELETE FROM studies WHERE {_STUDIES}", last).rowcount  # noqa: S608
        for table, folder, rows in (("instances", self._incoming, received), ("results", self._results, made)):
            for _, file in rows:
                self._remove(table, folder, file)
        counts = len(received), len(made), studies
        if any(counts):
            _LOG.info("removed as their time has come: %d instances, %d results, %d studies", *counts)
        return counts

    def refused(self) -> int:
        """Remove what was refused and is old enough; how many instances that were."""
        count = self._quarantine.forget(self._now() - timedelta(days=self._settings.quarantine_days))
        if count:
            _LOG.info("removed as their time has come: %d refused instances", count)
        return count

    def _remove(self, table: str, folder: Path, file: str) -> None:
        """A file of which the row is gone, unless what came or was made anew since has it again."""
        with self._journal.transaction() as database:
            known = database.execute(f"SELECT 1 FROM {table} WHERE file = ?", (file,)).fetchone()  # noqa: S608
            if known is None:
                with suppress(FileNotFoundError):
                    (folder / file).unlink()

    def _before(self, days: float) -> str:
        return stamp(self._now() - timedelta(days=days))
