"""Questions to the journal from who only looks: another connection, so that receiving never waits for a page."""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence
from contextlib import closing
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any
from urllib.parse import quote

from deploy.box.delivery import Delivery
from deploy.box.journal import OF_STUDIES, State, Study, where

_OF_DELIVERIES = ", ".join(field.name for field in fields(Delivery))


@dataclass(frozen=True)
class Listed:
    """A study, and how many instances of it are here."""

    study: Study
    instances: int


class Overview:
    """Reads the journal in a box's state; for several threads."""

    def __init__(self, state: Path) -> None:
        """`state`: the box's folder; its journal is there."""
        self._journal = state / "journal.sqlite"

    def states(self) -> dict[str, int]:
        """How many studies are in each state."""
        return {str(state): int(count) for state, count in self._rows("SELECT state, count(*) FROM studies GROUP BY 1")}

    def deliveries(self) -> dict[tuple[str, str], int]:
        """How many deliveries to each destination are in each state."""
        rows = self._rows("SELECT destination, state, count(*) FROM deliveries GROUP BY 1, 2")
        return {(str(destination), str(state)): int(count) for destination, state, count in rows}

    def deliveries_of(self, number: int) -> list[Delivery]:
        """Those of a study, in the order of their numbers."""
        rows = self._rows(
            f"SELECT {_OF_DELIVERIES} FROM deliveries JOIN results USING (sop_instance_uid) "  # noqa: S608
            "WHERE study = ? ORDER BY delivery",
            (number,),
        )
        return [Delivery(*row) for row in rows]

    def latest(self, state: State | None, most: int, skip: int = 0) -> list[Listed]:
        """Studies, those of which something came last first."""
        which, values = where("state", state)
        rows = self._rows(
            f"SELECT {OF_STUDIES}, (SELECT count(*) FROM instances WHERE instances.study = studies.study) "  # noqa: S608
            f"FROM studies {which} ORDER BY last_received DESC, study DESC LIMIT ? OFFSET ?",
            (*values, most, skip),
        )
        return [Listed(Study(*values), count) for *values, count in rows]

    def study(self, number: int) -> Listed | None:
        """One of them."""
        rows = self._rows(
            f"SELECT {OF_STUDIES}, (SELECT count(*) FROM instances WHERE instances.study = studies.study) "  # noqa: S608
            "FROM studies WHERE study = ?",
            (number,),
        )
        return next((Listed(Study(*values), count) for *values, count in rows), None)

    def answered_revision(self, number: int) -> int | None:
        """Of which revision of a study its last results are; None: there are none, or none any more."""
        rows = self._rows("SELECT revision FROM results WHERE study = ? ORDER BY answered DESC LIMIT 1", (number,))
        return next((int(revision) for (revision,) in rows), None)

    def file(self, number: int) -> str | None:
        """That of some instance of a study, below the folder of what was received; None: there is none any more."""
        rows = self._rows("SELECT file FROM instances WHERE study = ? ORDER BY sop_instance_uid LIMIT 1", (number,))
        return next((str(file) for (file,) in rows), None)

    def bytes(self) -> int:
        """Of the journal, with what is not merged into it yet."""
        files = (self._journal, self._journal.with_name(f"{self._journal.name}-wal"))
        return sum(path.stat().st_size for path in files if path.is_file())

    def _rows(self, query: str, values: Sequence[Any] = ()) -> list[tuple[Any, ...]]:
        with closing(sqlite3.connect(f"file:{quote(str(self._journal))}?mode=ro", uri=True, timeout=10.0)) as database:
            return database.execute(query, values).fetchall()
