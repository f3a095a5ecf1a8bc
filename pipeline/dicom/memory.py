"""What ingest remembers of the files that it read: one SQLite file and the volumes, in a folder of the owner alone.

Rows are encrypted under a key that comes from that of the pseudonyms, and found by keyed digests: without that key the
folder holds no identifier. What another version of the reading code left is dropped.
"""

from __future__ import annotations

import hmac
import json
import re
import secrets
import shutil
import sqlite3
import time
import zlib
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import Any, NamedTuple

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from pipeline.code import code_version
from pipeline.dicom import memory_file
from pipeline.dicom.catalogue import Member, member
from pipeline.dicom.encoded import Header, dumps, loads
from pipeline.dicom.pseudonym import Pseudonyms
from pipeline.dicom.saved import Image
from pipeline.dicom.stamp import Stamp

#: Rows are kept back for so long, so that a kill costs no more than this.
FLUSH_S = 1.0

_NONCE_BYTES = 12
_ENDING = ".nii.gz"
_NAME = re.compile(r"([0-9a-f]{2})+\.nii\.gz")
_TABLES = ("files", "volumes", "series")
_FIND = {table: f"SELECT content FROM {table} WHERE key = ?" for table in _TABLES}  # noqa: S608


class _Row(NamedTuple):
    """What is asked of each file or volume, and what is not."""

    head: list[Any]
    rest: bytes = b""


class Memory:
    """Rows by the keyed digest of what they are about."""

    def __init__(self, folder: Path, names: Pseudonyms) -> None:
        """Open the memory in `folder`, or begin one.

        Raises:
            StorageError: the disk is full, or the memory cannot be opened.
        """
        self.folder = folder
        self._digest_key, self._box = names.secret("ingest keys"), AESGCM(names.secret("ingest rows"))
        self._waiting: dict[str, dict[bytes, bytes]] = {table: {} for table in _TABLES}
        self._used: list[bytes] = []
        self._flushed = time.monotonic()
        # All parents but the last may be shared with others.
        folder.mkdir(parents=True, exist_ok=True)
        folder.chmod(0o700)
        with ExitStack() as opened:
            opened.enter_context(memory_file.alone(folder))
            self._rows = self._begun()
            (folder / "volumes").mkdir(exist_ok=True)
            self._held = opened.pop_all()  # until `close`

    def digest(self, kind: str, *parts: str | bytes) -> bytes:
        """16 bytes that stand for what these name."""
        contents = (part.encode("utf-8", "surrogateescape") if isinstance(part, str) else part for part in parts)
        whole = b"".join(b"%d\0%b" % (len(content), content) for content in contents)
        return hmac.digest(self._digest_key, kind.encode() + whole, "sha256")[:16]

    def members(self, key: bytes, at: Stamp, path: str) -> list[Member] | None:
        """What places a file, or those in an archive, if it has the stamp that it had; takes a third of `file`."""
        row = self._file(key, at)
        return [Member(f"{path}{behind}", *rest) for behind, *rest in row.head[2]] if row else None

    def file(self, key: bytes, at: Stamp, path: Path) -> tuple[list[Header], bytes | None] | None:
        """Headers and content digest of a file, if it has the stamp that it had; of one in an archive its own."""
        row = self._file(key, at)
        if row is None:
            return None
        content = row.head[1]
        return loads(zlib.decompress(row.rest).decode(), path), None if content is None else bytes.fromhex(content)

    def add_file(self, key: bytes, at: Stamp, content: bytes | None, headers: list[Header], path: Path) -> None:
        """Remember a file; of those in an archive what places them."""
        members = [member(header) for header in headers]
        own = [header for header, file in zip(headers, members, strict=True) if file.path == str(path)]
        places = [[file.path.removeprefix(str(path)), *file[1:]] for file in members]
        head = [[*at], None if content is None else content.hex(), places]
        self._put("files", key, _Row(head, zlib.compress(dumps(own).encode(), 1)))

    def volume(self, key: bytes) -> Image | None:
        """What is known of a volume if its file is as it was written."""
        row = self._get("volumes", key)
        if row is None:
            return None
        try:
            status = self.path(key).stat()
        except FileNotFoundError:
            return None
        at, shape, spacing_mm, sha256, _ = row.head
        return Image(tuple(shape), tuple(spacing_mm), sha256) if at == [status.st_size, status.st_mtime_ns] else None

    def add_volume(self, key: bytes, image: Image, patient: str) -> None:
        """Remember a volume that stands in its file, under the pseudonym of its patient."""
        status = self.path(key).stat()
        self._put("volumes", key, _Row([[status.st_size, status.st_mtime_ns], *image, patient]))

    def series(self, key: bytes) -> list[Any] | None:
        """What was remembered of a series."""
        row = self._get("series", key)
        return row.head[0] if row else None

    def add_series(self, key: bytes, row: list[Any], patient: str) -> None:
        """Remember what a series of a patient, given by the pseudonym, came to."""
        self._put("series", key, _Row([row, patient]))

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
        files = self._remove("files", lambda head: _of(patient, head[2], names))
        volumes, _ = (self._remove(table, lambda head: head[-1] == patient) for table in ("volumes", "series"))
        self._remove_strays()
        return files, volumes

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
        try:
            self.flush()
        finally:
            self._rows.close()
            self._held.close()

    def _begun(self) -> sqlite3.Connection:
        """The rows that this version of the code left; none if it left none that are whole."""
        said, version = self.folder / "version", code_version()
        if said.is_file() and said.read_text(encoding="ascii") == version:
            with suppress(sqlite3.DatabaseError):  # damaged
                return memory_file.open_rows(self.folder)
        self._clear()
        said.write_text(version, encoding="ascii")
        return memory_file.open_rows(self.folder)

    def _clear(self) -> None:
        shutil.rmtree(self.folder / "volumes", ignore_errors=True)
        for path in self.folder.glob("known.sqlite*"):
            path.unlink()

    def _get(self, table: str, key: bytes) -> _Row | None:
        try:
            found = self._rows.execute(_FIND[table], (key,)).fetchone()
        except sqlite3.DatabaseError as error:
            raise memory_file.failure(self.folder, error) from error
        return None if found is None else self._opened(key, found[0])

    def _file(self, key: bytes, at: Stamp) -> _Row | None:
        row = self._get("files", key)
        return row if row and row.head[0] == [*at] else None

    def _opened(self, key: bytes, content: bytes) -> _Row | None:
        """A row; None where it is damaged or of another key."""
        try:
            head, _, rest = self._box.decrypt(content[:_NONCE_BYTES], content[_NONCE_BYTES:], key).partition(b"\n")
        except InvalidTag:
            return None
        return _Row(json.loads(head), rest)

    def _put(self, table: str, key: bytes, row: _Row) -> None:
        nonce = secrets.token_bytes(_NONCE_BYTES)
        plain = json.dumps(row.head, separators=(",", ":")).encode() + b"\n" + row.rest
        self._waiting[table][key] = nonce + self._box.encrypt(nonce, plain, key)
        self._flush_in_time()

    def _flush_in_time(self) -> None:
        if time.monotonic() - self._flushed > FLUSH_S:
            self.flush()

    def _remove(self, table: str, concerned: Callable[[list[Any]], bool]) -> int:
        """Remove rows by their heads; how many there were."""
        rows = self._rows.execute(f"SELECT key, content FROM {table}")  # noqa: S608
        opened = ((key, self._opened(key, content)) for key, content in rows)
        keys = [(key,) for key, row in opened if row and concerned(row.head)]
        with self._written():
            self._rows.executemany(f"DELETE FROM {table} WHERE key = ?", keys)  # noqa: S608
        return len(keys)

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
        except sqlite3.DatabaseError as error:
            raise memory_file.failure(self.folder, error) from error


def _of(patient: str, places: list[list[str]], names: Pseudonyms) -> bool:
    return any(patient_id and names.patient(patient_id) == patient for *_, patient_id in places)


def memory_of(cache: Path, folder: Path, names: Pseudonyms) -> Memory:
    """The memory for a folder of scans, under one key."""
    name = names.secret(f"memory of {folder.resolve()}")[:16].hex()
    cache.mkdir(parents=True, exist_ok=True)
    cache.chmod(0o700)
    return Memory(cache / name, names)
