"""What ingest remembers of the files that it read: one SQLite file and the volumes, in a folder of the owner alone.

Rows are encrypted under a key that comes from that of the pseudonyms, and found by keyed digests: without that key the
folder holds no identifier. What another version of the reading code left is dropped.
"""

from __future__ import annotations

import hmac
import json
import os
import re
import secrets
import shutil
import sqlite3
import time
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from pipeline.code import code_version
from pipeline.dicom.encoded import Header, dumps, loads
from pipeline.dicom.pseudonym import Pseudonyms
from pipeline.dicom.saved import Image
from pipeline.files import FULL, storage_full

#: Rows are kept back for so long, so that a kill costs no more than this.
FLUSH_S = 1.0

_NONCE_BYTES = 12
_ENDING = ".nii.gz"
_NAME = re.compile(r"([0-9a-f]{2})+\.nii\.gz")
_SCHEMA = """
CREATE TABLE IF NOT EXISTS files (key BLOB PRIMARY KEY, content BLOB) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS volumes (key BLOB PRIMARY KEY, content BLOB) WITHOUT ROWID;
CREATE TEMP TABLE used (key BLOB PRIMARY KEY) WITHOUT ROWID;
"""


class Stamp(NamedTuple):
    """By what a file is known again without being read; the change time also tells a time that was set back."""

    size: int
    modified_ns: int
    changed_ns: int


def stamp(path: Path) -> Stamp:
    """The stamp of a file, or of the archive that it is in.

    Raises:
        OSError: there is none.
    """
    status = path.stat()
    return Stamp(status.st_size, status.st_mtime_ns, status.st_ctime_ns)


class Memory:
    """Rows by the keyed digest of what they are about."""

    def __init__(self, folder: Path, names: Pseudonyms) -> None:
        """Open the memory in `folder`, or begin one.

        Raises:
            StorageError: the disk is full.
        """
        self.folder = folder
        self._digest_key, self._box = names.secret("ingest keys"), AESGCM(names.secret("ingest rows"))
        self._waiting: dict[str, dict[bytes, bytes]] = {"files": {}, "volumes": {}}
        self._used: list[bytes] = []
        self._flushed = time.monotonic()
        # All parents but the last may be shared with others.
        folder.mkdir(parents=True, exist_ok=True)
        folder.chmod(0o700)
        said = folder / "version"
        version = code_version()
        if not said.is_file() or said.read_text(encoding="ascii") != version:
            self._clear()
            said.write_text(version, encoding="ascii")
        (folder / "volumes").mkdir(exist_ok=True)
        try:
            self._open()
        except sqlite3.DatabaseError:
            self._clear()
            said.write_text(version, encoding="ascii")
            (folder / "volumes").mkdir(exist_ok=True)
            self._open()

    def digest(self, kind: str, *parts: str | bytes) -> bytes:
        """16 bytes that stand for what these name."""
        whole = hmac.new(self._digest_key, kind.encode(), "sha256")
        for part in parts:
            content = part.encode("utf-8", "surrogateescape") if isinstance(part, str) else part
            whole.update(b"%d\0" % len(content) + content)
        return whole.digest()[:16]

    def file(self, key: bytes, at: Stamp, path: Path) -> tuple[list[Header], bytes | None] | None:
        """Headers and content digest of a file if it has the stamp that it had."""
        row = self._get("files", key)
        if row is None or row[0] != [*at]:
            return None
        return loads(row[2], path), None if row[1] is None else bytes.fromhex(row[1])

    def add_file(self, key: bytes, at: Stamp, content: bytes | None, headers: list[Header], path: Path) -> None:
        """Remember a file."""
        self._put("files", key, [[*at], None if content is None else content.hex(), dumps(headers, path)])

    def volume(self, key: bytes) -> Image | None:
        """What is known of a volume if its file is as it was written."""
        row = self._get("volumes", key)
        if row is None:
            return None
        try:
            status = self.path(key).stat()
        except FileNotFoundError:
            return None
        if [status.st_size, status.st_mtime_ns] != row[0]:
            return None
        return Image(tuple(row[1]), tuple(row[2]), row[3])

    def add_volume(self, key: bytes, image: Image, patient: str) -> None:
        """Remember a volume that stands in its file, under the pseudonym of its patient."""
        status = self.path(key).stat()
        self._put("volumes", key, [[status.st_size, status.st_mtime_ns], *image, patient])

    def path(self, key: bytes) -> Path:
        """Where the voxels of a volume lie, or will."""
        return self.folder / "volumes" / f"{key.hex()}{_ENDING}"

    def use(self, key: bytes) -> None:
        """Note that a file or volume is still there and taken."""
        self._used.append(key)
        self._flush_in_time()

    def forget_unused(self) -> None:
        """Forget what was not used since the memory was opened."""
        self.flush()
        with self._written():
            for table in self._waiting:
                self._rows.execute(f"DELETE FROM {table} WHERE key NOT IN (SELECT key FROM used)")  # noqa: S608
        self._remove_strays()

    def forget(self, patient: str, names: Pseudonyms) -> tuple[int, int]:
        """Forget the files and volumes of a patient; how many there were of each."""
        files = [key for key, row in self._all("files") if _of(patient, row[2], names)]
        volumes = [key for key, row in self._all("volumes") if row[-1] == patient]
        self._remove("files", files)
        self._remove("volumes", volumes)
        self._remove_strays()
        return len(files), len(volumes)

    def flush(self) -> None:
        """Write what waits.

        Raises:
            StorageError: the disk is full.
        """
        self._flushed = time.monotonic()
        with self._written():
            for table, rows in self._waiting.items():
                self._rows.executemany(f"REPLACE INTO {table} VALUES (?, ?)", rows.items())  # noqa: S608
                rows.clear()
            self._rows.executemany("INSERT OR IGNORE INTO used VALUES (?)", [(key,) for key in self._used])
            self._used.clear()

    def close(self) -> None:
        """Write what waits and let go of the file."""
        self.flush()
        self._rows.close()

    def _open(self) -> None:
        self._rows = sqlite3.connect(self.folder / "known.sqlite", timeout=60)
        # What is deleted is overwritten: an erased patient leaves no remains.
        self._rows.execute("PRAGMA secure_delete=ON")
        self._rows.execute("PRAGMA synchronous=NORMAL")
        self._rows.executescript(_SCHEMA)

    def _clear(self) -> None:
        shutil.rmtree(self.folder / "volumes", ignore_errors=True)
        for path in self.folder.glob("known.sqlite*"):
            path.unlink()

    def _get(self, table: str, key: bytes) -> Any:
        found = self._rows.execute(f"SELECT content FROM {table} WHERE key = ?", (key,)).fetchone()  # noqa: S608
        return None if found is None else self._opened(key, found[0])

    def _opened(self, key: bytes, content: bytes) -> Any:
        """A row; None where it is damaged or of another key."""
        try:
            return json.loads(zlib.decompress(self._box.decrypt(content[:_NONCE_BYTES], content[_NONCE_BYTES:], key)))
        except InvalidTag:
            return None

    def _put(self, table: str, key: bytes, row: list[Any]) -> None:
        nonce = secrets.token_bytes(_NONCE_BYTES)
        packed = zlib.compress(json.dumps(row, separators=(",", ":")).encode(), 1)
        self._waiting[table][key] = nonce + self._box.encrypt(nonce, packed, key)
        self._flush_in_time()

    def _flush_in_time(self) -> None:
        if time.monotonic() - self._flushed > FLUSH_S:
            self.flush()

    def _all(self, table: str) -> Iterator[tuple[bytes, Any]]:
        for key, content in self._rows.execute(f"SELECT key, content FROM {table}"):  # noqa: S608
            row = self._opened(key, content)
            if row is not None:
                yield key, row

    def _remove(self, table: str, keys: list[bytes]) -> None:
        with self._written():
            self._rows.executemany(f"DELETE FROM {table} WHERE key = ?", [(key,) for key in keys])  # noqa: S608

    def _remove_strays(self) -> None:
        """Volumes without a row: forgotten ones, and what a kill left."""
        for path in (self.folder / "volumes").iterdir():
            key = bytes.fromhex(path.name.removesuffix(_ENDING)) if _NAME.fullmatch(path.name) else b""
            if not self._rows.execute("SELECT 1 FROM volumes WHERE key = ?", (key,)).fetchone():
                path.unlink(missing_ok=True)

    @contextmanager
    def _written(self) -> Iterator[None]:
        try:
            with self._rows:
                yield
        except sqlite3.OperationalError as error:
            if error.sqlite_errorcode == sqlite3.SQLITE_FULL:
                raise storage_full(self.folder, OSError(min(FULL), "No space left on device")) from error
            raise


def _of(patient: str, headers: str, names: Pseudonyms) -> bool:
    return any(patient_of(header, names) == patient for header in loads(headers, Path("/")))


def patient_of(header: Header, names: Pseudonyms) -> str | None:
    """The pseudonym of a header's patient; None where it has none."""
    patient_id = getattr(header, "patient_id", "")
    return names.patient(patient_id) if patient_id else None


def below(cache: Path) -> list[Path]:
    """The folders of all memories that were begun below `cache`."""
    return [Path(entry.path) for entry in os.scandir(cache) if entry.is_dir()] if cache.is_dir() else []
