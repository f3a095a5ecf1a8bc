"""Reading with a memory: files that are as they were, and volumes of such files, are not read again.

A file is as it was if path, size and times are. If only these differ, its header is read and its content hashed; a
volume is known by the contents of its files, so that one that was moved, copied or touched is still the same. The
process of the stage alone asks the memory and writes to it; what it does not hold, workers read.
"""

from __future__ import annotations

import secrets
from collections import deque
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from pipeline.contract import Selection
from pipeline.dicom import saved
from pipeline.dicom.admission import Plan, Verdict
from pipeline.dicom.catalogue import Files, Member, Placed, Series, judge_headers, member, pack, placed, within
from pipeline.dicom.encoded import Header
from pipeline.dicom.frames import Frame
from pipeline.dicom.header import Instance, read_headers
from pipeline.dicom.memory import Memory
from pipeline.dicom.pseudonym import Pseudonyms
from pipeline.dicom.reasons import Rejection
from pipeline.dicom.recalled import Judgements, Looked, Recalled
from pipeline.dicom.saved import Encoded, Saved
from pipeline.dicom.stamp import Stamp, stamp
from pipeline.dicom.withdrawals import Withdrawals
from pipeline.files import sha256_file
from pipeline.parallel import Done, OrderedMap

#: What may be otherwise the next time, though the file is the same.
_PASSING = {"unreadable_file", "too_large"}


class Read(NamedTuple):
    """What was read of a file, or of an archive.

    Attributes:
        path: where it lies.
        headers: of it, or of those in it.
        content: its SHA-256, if there may be a volume in it.
        at: its stamp, if that held still.
    """

    path: Path
    headers: list[Header]
    content: bytes | None
    at: Stamp | None


@dataclass(frozen=True)
class Known(Instance):
    """A header with what its pixels are known by.

    Attributes:
        content: SHA-256 of the file; of one in an archive that of the archive, and its place there.
        at: the file's stamp; None if it did not hold still.
    """

    content: bytes = b""
    at: Stamp | None = None


class Incremental:
    """A `load.Reader` that gives volumes as files of its memory."""

    def __init__(self, memory: Memory, names: Pseudonyms, withdrawals: Withdrawals) -> None:
        self._memory, self._names, self._withdrawals = memory, names, withdrawals
        self._judgements = Judgements(memory, names)

    def places(self, run: OrderedMap, chunks: Iterator[Files]) -> Iterator[Placed | Rejection]:
        """See `load.Reader`; those of known files come first."""
        missing: deque[Files] = deque()
        for files in chunks:
            unknown = []
            for name in files.names:
                path = f"{files.folder}/{name}"
                at, key = stamp(path), self._memory.digest("file", name)
                known = self._memory.members(key, at, path) if at else None
                if known is not None:
                    yield from self._placed(known, key, path, files.folder)
                else:
                    unknown.append(path)
            if unknown:
                missing.append(pack(files.folder, unknown))
        for folder, found in run(read_files, (missing.popleft() for _ in range(len(missing)))):
            for read in map(_unless_unreadable, found):
                self._remember(read, folder)
                found_in = [member(header) for header in read.headers]
                yield from self._placed(found_in, self._key(read.path, folder), str(read.path), folder)
        self._memory.flush()

    def verdicts(
        self,
        run: OrderedMap,  # noqa: ARG002 - workers have no memory
        catalogue: Iterable[Series],
        selection: Selection | None,
    ) -> Iterator[list[Verdict]]:
        """See `load.Reader`; by the memory, so in this process."""
        for series in catalogue:
            looked = self._judgements.look(series, selection)
            yield self._judgements.of(looked) or self._judged(looked, selection)

    def volumes(self, run: OrderedMap, found: Iterable[Plan | Rejection]) -> Iterator[Saved | Rejection]:
        """See `load.Reader`; what a kill leaves is there for the next run."""
        given: deque[Plan | Rejection] = deque()

        def jobs() -> Iterator[Plan | Done[Encoded | Saved | Rejection]]:
            for item in found:
                given.append(item)
                yield self._unless_known(item)

        for result in run(saved.encode, jobs()):
            plan = given.popleft()
            if isinstance(result, Encoded):
                assert isinstance(plan, Plan)
                yield self._write(plan, result)
            else:
                yield result
        self._memory.flush()

    def forget_others(self) -> None:
        """Forget what is no longer there, or no longer taken."""
        self._memory.forget_unused()

    def _key(self, path: Path | str, folder: Path) -> bytes:
        return self._memory.digest("file", within(path, folder))

    def _known(self, path: Path, folder: Path) -> Read | None:
        """What is remembered of a file that is as it was."""
        at = stamp(path)
        known = at and self._memory.file(self._key(path, folder), at, path)
        return Read(path, *known, at) if known else None

    def _remember(self, read: Read, folder: Path) -> None:
        """Remember a file, and each of those in an archive by itself."""
        headers = [self._withdrawals.marked(header) for header in read.headers]
        # Of a withdrawn patient nothing is kept.
        if not read.at or any(_reason(header) in _PASSING | {"withdrawn"} for header in headers):
            return
        for header in headers:
            if isinstance(header, Instance) and header.path != read.path:
                inside = within(header.path, read.path).encode("utf-8", "surrogateescape")
                content = read.content and read.content + inside
                self._memory.add_file(self._key(header.path, folder), read.at, content, [header], header.path)
        self._memory.add_file(self._key(read.path, folder), read.at, read.content, headers, read.path)

    def _placed(self, files: list[Member], key: bytes, path: str, folder: Path) -> Iterator[Placed | Rejection]:
        """Where a file belongs, or those in an archive; they are noted as still there."""
        files = [self._withdrawals.marked_member(file) for file in files]
        if all(file.refusal != "withdrawn" for file in files):
            self._memory.use(key)
            for file in files:
                if file.path != path:
                    self._memory.use(self._key(file.path, folder))
        return (placed(file, folder) for file in files)

    def _headers(self, path: Path, folder: Path) -> Iterator[Header]:
        """The headers of a file again; read again where it is not remembered, or has changed."""
        read = self._known(path, folder) or _read_file(path)
        for header in map(self._withdrawals.marked, read.headers):
            if read.content and isinstance(header, Instance) and not header.refusal:
                yield _known(header, read.content, read.at)
            else:
                yield header

    def _judged(self, looked: Looked, selection: Selection | None) -> list[Verdict]:
        """What becomes of a series by its headers; remembered if its files held still."""
        series = looked.series
        headers = [header for path in looked.stamps for header in self._headers(path, series.files.folder)]
        verdicts = judge_headers(series, headers, selection)
        still = all(isinstance(each, Known) and each.at and each.at == looked.stamps.get(each.path) for each in headers)
        # The best of a study is chosen by what is not remembered.
        if still and not (selection and selection.best_of_study):
            self._judgements.add(looked, verdicts, [self._volume_key(each.plan) for each in verdicts if each.plan])
        return verdicts

    def _unless_known(self, item: Plan | Rejection) -> Plan | Done[Encoded | Saved | Rejection]:
        """The plan of a volume that has to be read, or what it came to before."""
        if isinstance(item, Rejection):
            return Done(item)
        if isinstance(item, Recalled):
            self._memory.use(item.key)
            return Done(item.saved)
        key = self._volume_key(item)
        image = self._memory.volume(key)
        if not image:
            return item
        self._memory.use(key)
        return Done(saved.saved(item, self._memory.path(key), image))

    def _write(self, plan: Plan, encoded: Encoded) -> Saved:
        """Write a volume that was read, and remember it if its files are still those that it is known by."""
        key = self._volume_key(plan)
        saved.save(encoded, self._memory.path(key))
        if all(instance.at and stamp(instance.path) == instance.at for instance, _ in _slices(plan)):
            self._memory.add_volume(key, encoded.image, self._names.patient(plan.instances[0].patient_id))
            self._memory.use(key)
        return saved.saved(plan, self._memory.path(key), encoded.image)

    def _volume_key(self, plan: Plan) -> bytes:
        """By the contents that it is made of, in their order: headers come from these, too."""
        parts = [(instance.content, str(frame.number)) for instance, frame in _slices(plan)]
        return self._memory.digest("volume", *(part for pair in parts for part in pair))


def _known(header: Instance, content: bytes, at: Stamp | None) -> Known:
    """`Known(**vars(header), content=content, at=at)`, but that the fields of what cannot change are not set singly."""
    known = object.__new__(Known)
    vars(known).update(vars(header), content=content, at=at)
    return known


def _slices(plan: Plan) -> Iterator[tuple[Known, Frame]]:
    for file, frame in plan.slices:
        instance = plan.instances[file]
        assert isinstance(instance, Known)
        yield instance, frame


def read_files(files: Files) -> tuple[Path, list[Read]]:
    """What there is to read in files, and the folder that they lie below."""
    return files.folder, [_read_file(path) for path in files.paths]


def _read_file(path: Path) -> Read:
    before = stamp(path)
    headers = read_headers([path])
    usable = any(isinstance(header, Instance) and not header.refusal for header in headers)
    try:
        content = bytes.fromhex(sha256_file(path)) if usable else None
    except OSError:
        return Read(path, headers, secrets.token_bytes(32), None)
    return Read(path, headers, content, before if before == stamp(path) else None)


def _unless_unreadable(read: Read) -> Read:
    """A file that a worker could not read is looked at once more, here: the trouble may be the worker's."""
    unreadable = any(_reason(header) == "unreadable_file" for header in read.headers)
    return _read_file(read.path) if unreadable else read


def _reason(header: Header) -> str | None:
    return header.reason if isinstance(header, Rejection) else header.refusal
