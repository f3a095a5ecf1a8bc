"""The SQLite file of what ingest remembers: one run at a time has it, and what may be wrong with it."""

from __future__ import annotations

import sqlite3
from contextlib import AbstractContextManager
from pathlib import Path

from pipeline.errors import StorageError
from pipeline.files import FULL, locked, storage_full
from pipeline.progress import say

_SCHEMA = """
CREATE TABLE IF NOT EXISTS files (key BLOB PRIMARY KEY, content BLOB) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS volumes (key BLOB PRIMARY KEY, content BLOB) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS series (key BLOB PRIMARY KEY, content BLOB) WITHOUT ROWID;
CREATE TEMP TABLE used (key BLOB PRIMARY KEY) WITHOUT ROWID;
"""


def alone(folder: Path) -> AbstractContextManager[None]:
    """The memory to oneself: what one run forgets, another may be about to use."""
    said = "ingest: waits for another ingest of these scans, or an erase, to end"
    return locked(folder, "lock", lambda: say(said))


def open_rows(folder: Path) -> sqlite3.Connection:
    """The rows, or a file for them.

    Raises:
        sqlite3.DatabaseError: what is there is damaged, or no such file.
        StorageError: it is out of reach, or the disk is full.
    """
    rows = sqlite3.connect(folder / "known.sqlite", timeout=60)
    try:
        # What is deleted is overwritten: an erased patient leaves no remains.
        rows.execute("PRAGMA secure_delete=ON")
        rows.execute("PRAGMA synchronous=NORMAL")
        rows.executescript(_SCHEMA)
    except sqlite3.DatabaseError as error:
        rows.close()
        if error.sqlite_errorcode in {sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB}:
            raise
        raise failure(folder, error) from error
    return rows


def failure(folder: Path, error: sqlite3.DatabaseError) -> StorageError:
    """The error for a file that cannot be used."""
    if error.sqlite_errorcode == sqlite3.SQLITE_FULL:
        return storage_full(folder, OSError(min(FULL), "No space left on device"))
    remedy = "Look after the disk; if it is well, delete that folder: ingest then reads everything anew."
    return StorageError(f"a memory of ingest in {folder} that can be used", f"`{error}`", remedy)
