"""What a box knows of what it received: one SQLite file, of which a row is on the disk before anybody is told so."""

from __future__ import annotations

import sqlite3
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import astuple, dataclass, fields
from pathlib import Path

from pipeline.errors import ContractError

#: Each entry takes the journal from the version of its place to the next; entries are only added.
MIGRATIONS = (
    """
    CREATE TABLE studies (
        study INTEGER PRIMARY KEY,
        study_instance_uid TEXT NOT NULL UNIQUE,
        first_received TEXT NOT NULL,
        last_received TEXT NOT NULL
    ) STRICT;
    CREATE TABLE instances (
        sop_instance_uid TEXT PRIMARY KEY,
        study INTEGER NOT NULL REFERENCES studies,
        series_instance_uid TEXT NOT NULL,
        sop_class_uid TEXT NOT NULL,
        sha256 TEXT NOT NULL,
        bytes INTEGER NOT NULL,
        file TEXT NOT NULL UNIQUE,
        calling_ae_title TEXT NOT NULL,
        received TEXT NOT NULL
    ) STRICT;
    CREATE INDEX instances_of_studies ON instances (study, series_instance_uid);
    """,
)


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


_COLUMNS = ", ".join(field.name for field in fields(Instance))


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
        query = (
            f"SELECT {_COLUMNS} FROM instances JOIN studies USING (study) "  # noqa: S608
            "WHERE ?1 IS NULL OR study_instance_uid = ?1 ORDER BY sop_instance_uid"
        )
        with self._lock:
            return [Instance(*row) for row in self._database.execute(query, (study_instance_uid,))]

    def add(self, instance: Instance) -> None:
        """Enter an instance, in place of what was known by its UID. It is on the disk when this returns."""
        (sop, study, *rest) = astuple(instance)
        with self._transaction():
            self._database.execute(
                "INSERT INTO studies (study_instance_uid, first_received, last_received) VALUES (?1, ?2, ?2) "
                "ON CONFLICT (study_instance_uid) DO UPDATE SET last_received = excluded.last_received",
                (study, instance.received),
            )
            self._database.execute(
                "INSERT OR REPLACE INTO instances "
                "SELECT ?, study, ?, ?, ?, ?, ?, ?, ? FROM studies WHERE study_instance_uid = ?",
                (sop, *rest, study),
            )

    @contextmanager
    def _transaction(self) -> Iterator[None]:
        with self._lock:
            self._database.execute("BEGIN IMMEDIATE")
            try:
                yield
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
            with self._transaction():
                for statement in MIGRATIONS[place].split(";"):
                    self._database.execute(statement)
                self._database.execute(f"PRAGMA user_version = {place + 1}")
