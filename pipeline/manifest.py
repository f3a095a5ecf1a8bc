"""What a folder of scans holds, as one digest; files that are as they were are not opened for it.

Names, sizes and contents make the digest, times do not: equal folders have equal manifests on any machine. That of a
folder with a million files takes seconds once they were read, and a list of them is never held.
"""

from __future__ import annotations

import hashlib
import os
import struct
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import NamedTuple

from pipeline.dicom.stamp import stamp
from pipeline.errors import DicomError
from pipeline.files import sha256_file, walk, write_atomic, write_json
from pipeline.progress import say

#: What was read is written down so often, so that a kill costs no more; a line says how far it is.
SAVE_S = 30.0

#: State, files, bytes and SHA-256 of the last manifest; rows of key and content follow.
_HEAD = struct.Struct("<16sQQ32s")
_ROW = struct.Struct("<16s32s")
_STAMP = struct.Struct("<Qqq").pack
#: In place of the content of what cannot be read.
_NO_CONTENT = bytes(32)


@dataclass(frozen=True)
class Manifest:
    """How many files, how many bytes, and the SHA-256 of names, sizes and contents."""

    files: int
    bytes: int
    sha256: str


class _File(NamedTuple):
    """A file by its path below the folder; `key` stands for path, size and times, None where it has none."""

    path: bytes
    size: int
    key: bytes | None


def write(folder: Path, memory: Path) -> None:
    """Write the manifest of `folder`, see `manifest_of`, where dvc.yaml and data/*/dvc.yaml expect it."""
    write_json(Path(f"data/sources/of-{folder}/sources.json"), asdict(manifest_of(folder, memory)))


def manifest_of(folder: Path, memory: Path) -> Manifest:
    """The manifest of all that is below `folder`, whatever it is; links are followed, as ingest does.

    A file that cannot be read counts as one without content: ingest says of it what is wrong.

    Args:
        folder: the scans.
        memory: a folder for what is remembered of their contents, without names.

    Raises:
        DicomError: no such folder.
        StorageError: the disk is full.
    """
    if not folder.is_dir():
        raise DicomError(
            f"a folder of DICOM at {folder}", "no such folder", "Check the path (data.dicom_dir in params.yaml)."
        )
    memory.mkdir(parents=True, exist_ok=True)
    memory.chmod(0o700)
    known = _Known(memory / hashlib.sha256(os.fsencode(folder.resolve())).hexdigest()[:32])
    state = hashlib.blake2b(digest_size=16)
    for file in _files(folder):
        state.update(file.key or file.path)
    return known.manifest(state.digest()) or _read(folder, known)


def _read(folder: Path, known: _Known) -> Manifest:
    """Look every file up, and read those that are not known."""
    before, now = known.rows(), bytearray()
    digest, state = hashlib.sha256(), hashlib.blake2b(digest_size=16)
    files = size = opened = 0
    steady, saved = True, time.monotonic()
    for file in _files(folder):
        content = before.pop(file.key, None) if file.key else None
        if content is None:
            opened += 1
            content = _content(folder, file)
        if file.key and content:
            now += file.key + content
        else:
            steady = False
        state.update(file.key or file.path)
        digest.update(b"%d\0%d\0" % (len(file.path), file.size) + file.path + (content or _NO_CONTENT))
        files, size = files + 1, size + file.size
        if time.monotonic() - saved > SAVE_S:
            known.save(now, before)
            saved = time.monotonic()
            say(f"sources: {files} files seen, {opened} of them read")
    manifest = Manifest(files, size, digest.hexdigest())
    known.save(now, {}, state.digest() if steady else None, manifest)
    return manifest


def _content(folder: Path, file: _File) -> bytes | None:
    """SHA-256 of a file that held still; None where it did not, or cannot be read."""
    if file.key is None:
        return None
    path = folder / os.fsdecode(file.path)
    try:
        content = bytes.fromhex(sha256_file(path))
        return content if _file(path, file.path).key == file.key else None
    except OSError:
        return None


def _files(folder: Path) -> Iterator[_File]:
    """Every file in one order, and folders that cannot be listed."""
    top = len(str(folder))
    return (_file(path, os.fsencode(path[top:].lstrip("/"))) for path in walk(folder))


def _file(path: str | Path, below: bytes) -> _File:
    at = stamp(path)
    if at is None:
        return _File(below, 0, None)
    # Nobody gets from this to a name: that would take the times to the nanosecond, which stand beside the name.
    return _File(below, at.size, hashlib.blake2b(_STAMP(*at) + below, digest_size=16).digest())


class _Known:
    """A file with the contents of files by their keys, and the manifest that was made of them last."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def manifest(self, state: bytes) -> Manifest | None:
        """The last manifest if the keys of all files were these."""
        if not self._path.is_file():
            return None
        with open(self._path, "rb") as handle:
            head = handle.read(_HEAD.size)
        if len(head) < _HEAD.size:
            return None
        last, files, size, digest = _HEAD.unpack(head)
        return Manifest(files, size, digest.hex()) if last == state else None

    def rows(self) -> dict[bytes, bytes]:
        """Contents by key."""
        rows = self._path.read_bytes()[_HEAD.size :] if self._path.is_file() else b""
        return dict(_ROW.iter_unpack(rows[: len(rows) - len(rows) % _ROW.size]))

    def save(
        self, rows: bytearray, more: dict[bytes, bytes], state: bytes | None = None, manifest: Manifest | None = None
    ) -> None:
        """Write all rows, and what makes the next look-up a short one.

        Raises:
            StorageError: the disk is full.
        """
        last = manifest or Manifest(0, 0, _NO_CONTENT.hex())
        head = _HEAD.pack(state or bytes(16), last.files, last.bytes, bytes.fromhex(last.sha256))
        write_atomic(self._path, lambda handle: handle.writelines([head, rows, *(key + more[key] for key in more)]))
