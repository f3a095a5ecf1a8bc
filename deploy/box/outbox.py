"""What a box has to send, and to whom it was sent: rows beside those of the studies, in one transaction with them.

A result is a file, on the disk before a row names it; a study is `answered` in the same transaction in which its
results are entered and queued. A stop in between leaves a file without a row, which `sweep` removes, and the study is
answered once more.
"""

from __future__ import annotations

import hashlib
import json
import sqlite3
from collections.abc import Mapping, Sequence
from dataclasses import astuple, fields
from io import BytesIO
from pathlib import Path
from typing import get_args

import pydicom

from deploy.box.delivery import Delivery, Result, State
from deploy.box.destinations import Destination, Kind
from deploy.box.journal import Journal, Study, after, now, where
from pipeline.errors import ConfigError
from pipeline.files import sha256_file, sync_folder, write_atomic

_COLUMNS = ", ".join(field.name for field in fields(Delivery))
_SELECT = f"SELECT {_COLUMNS} FROM deliveries JOIN results USING (sop_instance_uid)"  # noqa: S608
_OF_RESULTS = ", ".join(field.name for field in fields(Result))
#: Of a study's last answer, since which nothing came of it. The plus keeps SQLite from going through all studies.
_CURRENT = """EXISTS (SELECT 1 FROM studies JOIN results USING (study) WHERE +studies.state = 'answered'
    AND results.revision = studies.revision AND results.sop_instance_uid = deliveries.sop_instance_uid
    AND results.answered = (SELECT max(answered) FROM results AS other WHERE other.study = studies.study))"""


class Outbox:
    """Results and their deliveries; its methods may be called from any thread."""

    def __init__(self, journal: Journal, folder: Path, destinations: Sequence[Destination] = ()) -> None:
        """Make the folder.

        Args:
            journal: holds the rows.
            folder: of the results.
            destinations: to whom what is entered goes.
        """
        self._journal, self.folder, self._destinations = journal, folder, destinations
        folder.mkdir(parents=True, exist_ok=True)
        sync_folder(folder.parent)

    def enter(self, study: Study, contents: Mapping[Kind, bytes], positive: bool, **values: str) -> bool:
        """Settle a study as answered, with its results queued, unless something came since it was read; then False.

        A result that is known by its UID is kept as it is: a repeat is the same object. What the study was answered
        before, and was not sent yet, is superseded.

        Args:
            study: as it was read.
            contents: its results, as files of PS3.10.
            positive: whether a decision is; some destinations take no others.
            values: other columns of the study.

        Raises:
            OSError, StorageError, sqlite3.Error: the disk is full or failed; nothing is entered.
        """
        entered = False
        try:
            results = [self._kept(study, kind, content) for kind, content in contents.items()]
            with self._journal.transaction() as database:
                # What is forgotten at this moment may be of the same name.
                if gone := [each.kind for each in results if not (self.folder / each.file).is_file()]:
                    raise FileNotFoundError(f"the {' and '.join(gone)} of study {study.study}")
                settled = self._journal.settle(study, "answered", **values)
                if settled:
                    self._queue(database, study, results, positive)
            entered = settled
        finally:
            if not entered:
                self.sweep()
        return entered

    def fail(self, study: Study, reason: str, **values: str) -> bool:
        """Settle a study as failed, unless something came since it was read; then False.

        What it was answered before, and was not sent yet, is superseded: it is not what the study is now.
        """
        with self._journal.transaction() as database:
            settled = self._journal.settle(study, "failed", reason=reason, **values)
            if settled:
                _supersede(database, study, "the study changed, and could not be answered anew")
        return settled

    def results(self, study: int) -> list[Result]:
        """Those of a study's last answer."""
        query = (
            f"SELECT {_OF_RESULTS} FROM results WHERE study = ?1 AND answered = "  # noqa: S608
            "(SELECT max(answered) FROM results WHERE study = ?1) ORDER BY kind DESC"
        )
        with self._journal.transaction() as database:
            return [Result(*row) for row in database.execute(query, (study,))]

    def deliveries(self, state: State | None = None) -> list[Delivery]:
        """All, or those in one state, in the order of their numbers."""
        which, values = where("state", state)
        return self._found(f"{which} ORDER BY delivery", *values)

    def counts(self) -> dict[State, int]:
        """How many deliveries are in each state."""
        with self._journal.transaction() as database:
            found = dict(database.execute("SELECT state, count(*) FROM deliveries GROUP BY state").fetchall())
        return {state: found.get(state, 0) for state in get_args(State)}

    def replay(self, number: int | None = None) -> int:
        """Queue a delivery again, whatever became of it, or all that are dead (None); how many those are.

        Raises:
            ConfigError: there is none of this number, or it is not what its study says now.
        """
        with self._journal.transaction() as database:
            done = database.execute(
                "UPDATE deliveries SET state = 'queued', tries = 0, queued = ?1, next_try = ?1, reason = '', "  # noqa: S608
                f"transaction_uid = '' WHERE iif(?2 IS NULL, state = 'dead', delivery = ?2) AND {_CURRENT}",
                (now(), number),
            )
        if number is not None and not done.rowcount:
            raise ConfigError("the number of a delivery of a study's last answer", str(number), "`outbox` lists them.")
        return done.rowcount

    def due(self, destination: str, time: str, most: int = 64) -> list[Delivery]:
        """What is to be tried now, the longest due first; of a study that changed, nothing until it is settled anew."""
        which = f"WHERE destination = ? AND state = 'queued' AND next_try <= ? AND {_CURRENT}"
        return self._found(f"{which} ORDER BY next_try LIMIT ?", destination, time, most)

    def is_due(self, delivery: Delivery) -> bool:
        """Whether it still waits, and says what its study says now."""
        return bool(self._found(f"WHERE delivery = ? AND state = 'queued' AND {_CURRENT}", delivery.delivery))

    def uncommitted(self, destination: str, time: str) -> list[Delivery]:
        """What was sent, and of which storage commitment was asked for, refused or not had by its time."""
        which = "WHERE destination = ? AND state = 'sent' AND transaction_uid != '' AND next_try <= ?"
        return self._found(f"{which} AND {_CURRENT}", destination, time)

    def commit(self, transaction_uid: str, kept: Sequence[str], failed: Mapping[str, int]) -> int:
        """Enter a report of storage commitment; how many deliveries it commits.

        Args:
            transaction_uid: that was asked under.
            kept: SOP instance UIDs that the destination will keep.
            failed: those that it will not, each with its failure reason (PS3.3, C.14.1.1).
        """
        which = "WHERE state = 'sent' AND transaction_uid = ? AND transaction_uid != '' AND sop_instance_uid = ?"
        done = 0
        with self._journal.transaction() as database:
            for uid in kept:
                values = (transaction_uid, uid)
                done += database.execute(f"UPDATE deliveries SET state = 'committed' {which}", values).rowcount  # noqa: S608
            for uid, reason in failed.items():
                database.execute(
                    f"UPDATE deliveries SET next_try = ?, reason = ? {which}",  # noqa: S608
                    (now(), f"it will not keep it: 0x{reason:04X}", transaction_uid, uid),
                )
        return done

    def move(self, delivery: Delivery, state: State, **values: str | int | None) -> bool:
        """Move a delivery on, unless another did since it was read; False then.

        Args:
            delivery: as it was read.
            state: where to; in place of `queued` and `dead` `superseded`, if it is not what its study says now.
            values: other columns.
        """
        moved = f"state = iif(? IN ('queued', 'dead') AND NOT {_CURRENT}, 'superseded', ?)"
        assignments = ", ".join((moved, *(f"{name} = ?" for name in values)))
        query = f"UPDATE deliveries SET {assignments} WHERE delivery = ? AND state = ? AND transaction_uid = ?"  # noqa: S608
        read = (delivery.delivery, delivery.state, delivery.transaction_uid)
        with self._journal.transaction() as database:
            return database.execute(query, (state, state, *values.values(), *read)).rowcount == 1

    def abandon(self) -> int:
        """Give up what waits for a destination that is no longer one; how many deliveries that is."""
        named = json.dumps([each.name for each in self._destinations])
        query = (
            "UPDATE deliveries SET state = 'dead', reason = 'no destination of the settings has this name' "
            "WHERE state = 'queued' AND destination NOT IN (SELECT value FROM json_each(?))"
        )
        with self._journal.transaction() as database:
            return database.execute(query, (named,)).rowcount

    def sweep(self) -> int:
        """Remove files without a row; how many those were. Only while nothing else is entered."""
        with self._journal.transaction() as database:
            known = {name for (name,) in database.execute("SELECT file FROM results")}
        strays = [path for path in self.folder.iterdir() if path.name not in known]
        for path in strays:
            path.unlink(missing_ok=True)
        return len(strays)

    def _found(self, which: str, *values: str | int) -> list[Delivery]:
        with self._journal.transaction() as database:
            return [Delivery(*row) for row in database.execute(f"{_SELECT} {which}", values)]

    def _kept(self, study: Study, kind: Kind, content: bytes) -> Result:
        """The result, on the disk: of a repeat, what was kept first."""
        read = pydicom.dcmread(BytesIO(content), stop_before_pixels=True)
        uid = str(read.SOPInstanceUID)
        query = f"SELECT {_OF_RESULTS} FROM results WHERE sop_instance_uid = ?"  # noqa: S608
        with self._journal.transaction() as database:
            row = database.execute(query, (uid,)).fetchone()
        if row is not None:
            path = self.folder / (before := Result(*row)).file
            if path.is_file() and sha256_file(path) == before.sha256:
                return before
        sha256 = hashlib.sha256(content).hexdigest()
        name = f"{study.study:06}-{study.revision}-{kind}-{sha256[:16]}.dcm"
        write_atomic(self.folder / name, lambda handle: handle.write(content))
        sync_folder(self.folder)
        return Result(uid, kind, str(read.SeriesInstanceUID), str(read.SOPClassUID), sha256, name)

    def _queue(self, database: sqlite3.Connection, study: Study, results: list[Result], positive: bool) -> None:
        _supersede(database, study, "the study was answered anew")
        query = "SELECT DISTINCT calling_ae_title FROM instances WHERE study = ?"
        titles = {title for (title,) in database.execute(query, (study.study,))}
        queued = now()
        # The last answer is the latest, though a clock was set back.
        (last,) = database.execute("SELECT max(answered) FROM results WHERE study = ?", (study.study,)).fetchone()
        answered = queued if last is None else max(queued, after(last))
        for each in results:
            database.execute(
                "INSERT INTO results VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?) ON CONFLICT (sop_instance_uid) DO UPDATE SET "
                "revision = excluded.revision, sha256 = excluded.sha256, file = excluded.file, "
                "answered = excluded.answered",
                (*astuple(each), study.study, study.revision, answered),
            )
            for destination in self._destinations:
                if destination.takes(each.kind, positive, titles):
                    database.execute(
                        "INSERT INTO deliveries VALUES (NULL, ?1, ?2, 'queued', 0, ?3, ?3, NULL, '', '') "
                        "ON CONFLICT (sop_instance_uid, destination) DO UPDATE SET state = 'queued', tries = 0, "
                        "queued = ?3, next_try = ?3, reason = '' WHERE state = 'superseded'",
                        (each.sop_instance_uid, destination.name, queued),
                    )


def _supersede(database: sqlite3.Connection, study: Study, reason: str) -> None:
    # The plus keeps SQLite from going through what waits of all studies.
    database.execute(
        "UPDATE deliveries SET state = 'superseded', reason = ? WHERE +state IN ('queued', 'dead') "
        "AND sop_instance_uid IN (SELECT sop_instance_uid FROM results WHERE study = ?)",
        (reason, study.study),
    )
