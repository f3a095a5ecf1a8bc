"""What a box knows of what it received: one SQLite file, of which a row is on the disk before anybody is told so."""

from __future__ import annotations

import sqlite3
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import astuple, dataclass, fields
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Literal

from deploy.box.schema import MIGRATIONS
from pipeline.errors import ContractError

State = Literal["receiving", "complete", "answered", "failed"]


@dataclass(frozen=True)
class Instance:
    """One received SOP instance.

    Attributes:
        sop_instance_uid, series_instance_uid, study_instance_uid, sop_class_uid: as its data set says.
        sha256, bytes: of the file.
        file: below the folder of what was received.
        calling_ae_title: of the sender.
        received: UTC, ISO 8601.
    """

    sop_instance_uid: str
    study_instance_uid: str
    series_instance_uid: str
    sop_class_uid: str
    sha256: str
    bytes: int
    file: str
    calling_ae_title: str
    received: str


@dataclass(frozen=True)
class Study:
    """Where a study stands.

    Attributes:
        study: its number here, which stands in logs in place of its UID.
        study_instance_uid: as its instances say.
        revision: counts from 1; the next begins when something comes after it was complete.
        first_received, last_received: of this revision; UTC, ISO 8601.
        state: `receiving`, `complete`, `answered` or `failed`.
        reason: why it failed.
        release_sha256, predictions: by which release it was answered (its SHA256SUMS), and the answers as JSON.
    """

    study: int
    study_instance_uid: str
    revision: int
    first_received: str
    last_received: str
    state: State
    reason: str
    release_sha256: str
    predictions: str


def stamp(moment: datetime) -> str:
    """A time as rows have it, UTC in ISO 8601 to the millisecond: the order of the texts is that of the times."""
    return moment.astimezone(UTC).isoformat(timespec="milliseconds")


def now() -> str:
    """The time, as rows have it."""
    return stamp(datetime.now(UTC))


def after(time: str) -> str:
    """The next time that a row can have."""
    return stamp(datetime.fromisoformat(time) + timedelta(milliseconds=1))


_COLUMNS = ", ".join(field.name for field in fields(Instance))
#: Of `studies`, by their names, as later versions have more.
OF_STUDIES = ", ".join(field.name for field in fields(Study))
#: Something came of a study, or went from it, at a time (?2).
_CHANGED = (
    "last_received = ?2, first_received = iif(state = 'receiving', first_received, ?2), "
    "revision = revision + (state != 'receiving'), state = 'receiving', reason = ''"
)


def where(column: str, value: str | None) -> tuple[str, tuple[str, ...]]:
    """A condition with its values; None for all rows: one condition for both would keep SQLite from the index."""
    return ("", ()) if value is None else (f"WHERE {column} = ?", (value,))


class Journal:
    """One open journal; its methods may be called from any thread."""

    def __init__(self, path: Path) -> None:
        """Open it, make it, or bring it to this version.

        Raises:
            ContractError: a later version of the box wrote it.
        """
        self._lock = threading.RLock()
        self._database = sqlite3.connect(path, isolation_level=None, check_same_thread=False, timeout=30.0)
        self._database.execute("PRAGMA journal_mode = WAL")
        self._database.execute("PRAGMA synchronous = FULL")
        self._database.execute("PRAGMA foreign_keys = ON")
        self._migrate(path)

    def close(self) -> None:
        """Close it."""
        with self._lock:
            self._database.close()

    def instance(self, sop_instance_uid: str) -> Instance | None:
        """What is known by this UID."""
        query = f"SELECT {_COLUMNS} FROM instances JOIN studies USING (study) WHERE sop_instance_uid = ?"  # noqa: S608
        with self._lock:
            row = self._database.execute(query, (sop_instance_uid,)).fetchone()
        return None if row is None else Instance(*row)

    def instances(self, study_instance_uid: str | None = None) -> list[Instance]:
        """Of one study, or all, in the order of their UIDs."""
        which, values = where("study_instance_uid", study_instance_uid)
        query = f"SELECT {_COLUMNS} FROM instances JOIN studies USING (study) {which} ORDER BY sop_instance_uid"  # noqa: S608
        with self._lock:
            return [Instance(*row) for row in self._database.execute(query, values)]

    def add(self, instance: Instance) -> None:
        """Enter an instance, in place of what was known by its UID. It is on the disk when this returns.

        A study that was complete is receiving again, in its next revision; so is one that the instance was of before.
        """
        (sop, study, *rest) = astuple(instance)
        with self.transaction():
            self._database.execute(
                f"UPDATE studies SET {_CHANGED} WHERE study_instance_uid != ?1 "  # noqa: S608
                "AND study = (SELECT study FROM instances WHERE sop_instance_uid = ?3)",
                (study, instance.received, sop),
            )
            self._database.execute(
                "INSERT INTO studies VALUES (NULL, ?1, 1, ?2, ?2, 'receiving', '', '', '', '') "  # noqa: S608
                f"ON CONFLICT (study_instance_uid) DO UPDATE SET {_CHANGED}",
                (study, instance.received),
            )
            self._database.execute(
                "INSERT OR REPLACE INTO instances "
                "SELECT ?, study, ?, ?, ?, ?, ?, ?, ? FROM studies WHERE study_instance_uid = ?",
                (sop, *rest, study),
            )
            self._database.execute("DELETE FROM forgotten WHERE sop_instance_uid = ?", (sop,))

    def forgotten(self, study: Study) -> int:
        """How many instances of a study were removed as their time had come, and did not come again."""
        query = "SELECT count(*) FROM forgotten WHERE study = ?"
        with self._lock:
            (count,) = self._database.execute(query, (study.study,)).fetchone()
        return int(count)

    def studies(self, state: State | None = None) -> list[Study]:
        """All, or those in one state; what waits longest comes first."""
        which, values = where("state", state)
        query = f"SELECT {OF_STUDIES} FROM studies {which} ORDER BY last_received, study"  # noqa: S608
        with self._lock:
            return [Study(*row) for row in self._database.execute(query, values)]

    def complete(self, quiet_since: str, begun_before: str) -> int:
        """Studies of which nothing came since one time, or that began before the other, are complete; how many are."""
        with self.transaction():
            done = self._database.execute(
                "UPDATE studies SET state = 'complete' "
                "WHERE state = 'receiving' AND (last_received <= ? OR first_received <= ?)",
                (quiet_since, begun_before),
            )
        return done.rowcount

    def settle(self, study: Study, state: State, **values: str) -> bool:
        """Move a study on, unless something came since it was read: then the answer is of what is no more, and False.

        Args:
            study: as it was read.
            state: where to.
            values: other columns.
        """
        columns = {"state": state, "reason": "", **values}
        assignments = ", ".join(f"{name} = ?" for name in columns)
        with self.transaction():
            done = self._database.execute(
                f"UPDATE studies SET {assignments} WHERE study = ? AND revision = ? AND state = ?",  # noqa: S608
                (*columns.values(), study.study, study.revision, study.state),
            )
        return done.rowcount == 1

    @contextmanager
    def transaction(self) -> Iterator[sqlite3.Connection]:
        """All of what happens within, or nothing, on the disk when it ends; one within another is a part of it."""
        with self._lock:
            within = self._database.in_transaction
            if within:
                yield self._database
                return
            self._database.execute("BEGIN IMMEDIATE")
            try:
                yield self._database
                self._database.execute("COMMIT")
            except BaseException:
                # A COMMIT that found no room has not ended the transaction; some errors have.
                if self._database.in_transaction:
                    self._database.execute("ROLLBACK")
                raise

    def _migrate(self, path: Path) -> None:
        (version,) = self._database.execute("PRAGMA user_version").fetchone()
        if version > len(MIGRATIONS):
            raise ContractError(
                f"a journal of version {len(MIGRATIONS)} or less in {path}",
                f"version {version}",
                "A later box wrote it: install that version again, or go back to a backup of this one's.",
            )
        for place in range(version, len(MIGRATIONS)):
            with self.transaction():
                for statement in MIGRATIONS[place].split(";"):
                    self._database.execute(statement)
                self._database.execute(f"PRAGMA user_version = {place + 1}")
