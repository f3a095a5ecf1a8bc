"""Reading with a memory: files that are as they were, and volumes of such files, are not read again.

A file is as it was if path, size and times are. If only these differ, its header is read and its content hashed; a
volume is known by the contents of its files, so that one that was moved, copied or touched is still the same.
"""

from __future__ import annotations

import secrets
import stat
from collections.abc import Iterator, Set
from dataclasses import replace
from pathlib import Path

from pipeline.dicom import saved
from pipeline.dicom.admission import Plan
from pipeline.dicom.encoded import Header
from pipeline.dicom.header import Instance, read_headers
from pipeline.dicom.load import CHUNK, FILES_PER_WORKER, Anew
from pipeline.dicom.memory import Memory, Stamp, patient_of, stamp
from pipeline.dicom.pseudonym import Pseudonyms
from pipeline.dicom.reasons import Rejection
from pipeline.dicom.saved import Image, Saved
from pipeline.dicom.sources import relative
from pipeline.files import sha256_file
from pipeline.parallel import OrderedMap, here

#: What may be otherwise the next time, though the file is the same.
_PASSING = {"unreadable_file", "too_large"}

#: Headers of a file, its content's SHA-256 if there may be a volume in it, and its stamp if that held still.
Read = tuple[list[Header], bytes | None, Stamp | None]


class Withdrawals:
    """Marks the headers of patients who were withdrawn."""

    def __init__(self, names: Pseudonyms, withdrawn: Set[str]) -> None:
        self._names, self._withdrawn = names, withdrawn

    def marked(self, header: Header) -> Header:
        """The header, refused where its patient is withdrawn."""
        if self._withdrawn and isinstance(header, Instance) and patient_of(header, self._names) in self._withdrawn:
            return replace(header, refusal="withdrawn", frames=(), pixels=None)
        return header


class AnewButWithdrawn(Anew):
    """Reads every file, and refuses those of withdrawn patients."""

    def __init__(self, withdrawals: Withdrawals) -> None:
        self._withdrawals = withdrawals

    def headers(self, run: OrderedMap, paths: list[Path]) -> Iterator[Header]:
        """See `load.Reader`."""
        return map(self._withdrawals.marked, super().headers(run, paths))


class Incremental:
    """A `load.Reader` that gives volumes as files of its memory."""

    def __init__(self, memory: Memory, folder: Path, names: Pseudonyms, withdrawals: Withdrawals) -> None:
        self._memory, self._folder, self._names, self._withdrawals = memory, folder, names, withdrawals
        self._contents: dict[Path, bytes] = {}
        self._stamps: dict[Path, Stamp] = {}
        self._used: tuple[set[bytes], set[bytes]] = set(), set()

    def headers(self, run: OrderedMap, paths: list[Path]) -> Iterator[Header]:
        """See `load.Reader`; those of known files come first."""
        missing: list[Path] = []
        for path in paths:
            at = _stamp(path)
            known = at and self._memory.file(self._key(path), at, path)
            if at and known:
                yield from self._taken(path, at, *known)
            else:
                missing.append(path)
        chunks = [missing[start : start + CHUNK] for start in range(0, len(missing), CHUNK)]
        everything = (each for chunk in _where(run, len(missing))(read_files, chunks) for each in chunk)
        for path, (headers, content, at) in zip(missing, everything, strict=True):
            marked = self._taken(path, at, headers, content)
            # Of a withdrawn patient nothing is kept.
            if at and not any(_reason(header) in _PASSING | {"withdrawn"} for header in marked):
                self._memory.add_file(self._key(path), at, content, headers, path)
            yield from marked
        self._memory.flush()

    def volumes(self, run: OrderedMap, plans: list[Plan]) -> Iterator[Saved | Rejection]:
        """See `load.Reader`; what a kill leaves is there for the next run."""
        keys = [self._volume_key(plan) for plan in plans]
        known = [self._memory.volume(key) for key in keys]
        jobs = [
            (plan, self._memory.path(key)) for plan, key, image in zip(plans, keys, known, strict=True) if not image
        ]
        fresh = iter(_where(run, sum(len(plan.instances) for plan, _ in jobs))(saved.save, jobs))
        for plan, key, image in zip(plans, keys, known, strict=True):
            found: Image | Rejection = image or next(fresh)
            if isinstance(found, Rejection):
                yield found
                continue
            self._used[1].add(key)
            if not image and self._held_still(plan):
                self._memory.add_volume(key, found, self._names.patient(plan.instances[0].patient_id))
            yield saved.saved(plan, self._memory.path(key), found)
        self._memory.flush()

    def forget_others(self) -> None:
        """Forget what is no longer there, or no longer taken."""
        self._memory.keep(*self._used)

    def _key(self, path: Path) -> bytes:
        return self._memory.digest("file", relative(path, self._folder))

    def _taken(self, path: Path, at: Stamp | None, headers: list[Header], content: bytes | None) -> list[Header]:
        """The headers of a file, once it is known what their volumes will be made of."""
        marked = [self._withdrawals.marked(header) for header in headers]
        if "withdrawn" not in map(_reason, marked):
            self._used[0].add(self._key(path))
        for header in marked:
            if content and isinstance(header, Instance) and not header.refusal:
                within = str(header.path).removeprefix(str(path))
                self._contents[header.path] = content + within.encode("utf-8", "surrogateescape")
                if at:
                    self._stamps[header.path] = at
        return marked

    def _volume_key(self, plan: Plan) -> bytes:
        """By the contents that it is made of, in their order: headers come from these, too."""
        parts = [(self._contents[plan.instances[file].path], str(frame.number)) for file, frame in plan.slices]
        return self._memory.digest("volume", *(part for pair in parts for part in pair))

    def _held_still(self, plan: Plan) -> bool:
        """Whether the files of a volume are still those whose contents it is known by."""
        used = {plan.instances[file].path for file, _ in plan.slices}
        return all(path in self._stamps and _stamp(path) == self._stamps[path] for path in used)


def read_files(paths: list[Path]) -> list[Read]:
    """Headers, content and stamp of each file."""
    return [_read_file(path) for path in paths]


def _read_file(path: Path) -> Read:
    before = _stamp(path)
    headers = read_headers([path])
    usable = any(isinstance(header, Instance) and not header.refusal for header in headers)
    try:
        content = bytes.fromhex(sha256_file(path)) if usable else None
    except OSError:
        return headers, secrets.token_bytes(32), None
    return headers, content, before if before == _stamp(path) else None


def _stamp(path: Path) -> Stamp | None:
    """The stamp of a regular file, or of the archive that holds a member."""
    try:
        status = path.stat()
    except NotADirectoryError:
        return next((stamp(parent) for parent in path.parents if parent.is_file()), None)
    except OSError:
        return None
    regular = stat.S_ISREG(status.st_mode)
    return Stamp(status.st_size, status.st_mtime_ns, status.st_ctime_ns) if regular else None


def _reason(header: Header) -> str | None:
    return header.reason if isinstance(header, Rejection) else header.refusal


def _where(run: OrderedMap, files: int) -> OrderedMap:
    """In this process where so few files are left that no other is worth its start."""
    return run if files >= 2 * FILES_PER_WORKER else here


def memory_of(cache: Path, folder: Path, names: Pseudonyms) -> Memory:
    """The memory for a folder of scans, named as it is in params.yaml, under one key."""
    name = names.secret(f"memory of {folder}")[:16].hex()
    cache.mkdir(parents=True, exist_ok=True)
    cache.chmod(0o700)
    return Memory(cache / name, names)
