"""A folder of DICOM to scans, one volume in memory at a time; the entrance of `pipeline.dicom`."""

from __future__ import annotations

import os
from collections import Counter, deque
from collections.abc import Iterable, Iterator, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from functools import partial
from itertools import chain, islice
from pathlib import Path
from typing import Protocol, TypeVar

from pipeline.contract import Selection
from pipeline.dicom.admission import Plan, Verdict, best_of_study, only_best, outcome
from pipeline.dicom.catalogue import (
    Catalogue,
    Files,
    Mark,
    Placed,
    Series,
    as_it_is,
    headers,
    judge_headers,
    judge_series,
    member,
    pack,
    place,
    placed,
)
from pipeline.dicom.header import Instance
from pipeline.dicom.reasons import REASONS, Rejection
from pipeline.dicom.scan import Scan, read_scan
from pipeline.errors import DicomError
from pipeline.files import walk
from pipeline.parallel import Done, OrderedMap, ordered_map
from pipeline.progress import track

#: Files a worker takes at a time.
CHUNK = 32
#: Chunks of files whose headers stay in memory until all is read: those of a study on a box.
KEPT_CHUNKS = 4
#: Seconds of work that this process does before it starts others: their start and imports take 1.5 to 2.5 s.
HERE_S = 2.0

Taken = TypeVar("Taken", covariant=True)


class Reader(Protocol[Taken]):
    """How files are read: anew, or with what is remembered of them."""

    def places(self, run: OrderedMap, chunks: Iterator[Files]) -> Iterator[Placed | Rejection]:
        """To which series each file belongs, or why to none; in any order."""
        ...

    def verdicts(
        self, run: OrderedMap, catalogue: Iterable[Series], selection: Selection | None
    ) -> Iterator[list[Verdict]]:
        """What becomes of each volume of a series, series by series."""
        ...

    def volumes(self, run: OrderedMap, found: Iterable[Plan | Rejection]) -> Iterator[Taken | Rejection]:
        """What each plan comes to; a refusal has come to its end and keeps its place."""
        ...


class Anew:
    """Reads every file of one folder; `marked` goes to the processes that do. Of few files, headers are read once."""

    def __init__(self, marked: Mark = as_it_is) -> None:
        self._marked = marked
        self._kept: dict[Path, Instance] = {}

    def places(self, run: OrderedMap, chunks: Iterator[Files]) -> Iterator[Placed | Rejection]:
        """See `Reader`."""
        self._kept.clear()
        first = list(islice(chunks, KEPT_CHUNKS + 1))
        if len(first) > KEPT_CHUNKS:
            for chunk in run(partial(place, marked=self._marked), chain(first, chunks)):
                yield from chunk
            return
        for files, found in zip(first, run(partial(headers, marked=self._marked), first), strict=True):
            self._kept |= {header.path: header for header in found if isinstance(header, Instance)}
            yield from (placed(member(header), files.folder) for header in found)

    def verdicts(
        self, run: OrderedMap, catalogue: Iterable[Series], selection: Selection | None
    ) -> Iterator[list[Verdict]]:
        """See `Reader`."""
        if not self._kept:
            return run(partial(judge_series, selection=selection, marked=self._marked), catalogue)
        return (
            judge_headers(series, [self._kept[path] for path in series.files.paths], selection) for series in catalogue
        )

    def volumes(self, run: OrderedMap, found: Iterable[Plan | Rejection]) -> Iterator[Scan | Rejection]:
        """See `Reader`."""
        jobs: Iterator[Plan | Done[Scan | Rejection]] = (Done(x) if isinstance(x, Rejection) else x for x in found)
        return run(read_scan, jobs)


def load(folder: Path, selection: Selection | None = None, workers: int | None = None) -> Iterator[Scan | Rejection]:
    """Yield every volume that is taken below `folder` as a `Scan`, and why a series, a part of it, or a file is not.

    All headers are read first, to tell the series; then, series by series, they are judged (of many files read again
    for that), and pixels are read of those that `selection` wants. Refused files come first, in the order of their
    paths, then the series in an order that depends on the contents alone.
    `Rejection.source` is the path relative to `folder`, or the SeriesInstanceUID.

    Args:
        folder: read recursively; links are followed, names and endings do not matter.
        selection: the rules; None: every volume of at least two slices.
        workers: processes; None: one per core.

    Raises:
        DicomError: no such folder, or no MR series in it that can be used.
        WorkerError: worker after worker was lost over the same work.
    """
    return load_with(Anew(), folder, selection, workers)


def load_with(
    reader: Reader[Taken],
    folder: Path,
    selection: Selection | None = None,
    workers: int | None = None,
    scheduler: str | None = None,
) -> Iterator[Taken | Rejection]:
    """`load`, with volumes as `reader` gives them.

    Args:
        reader: reads the files.
        folder: see `load`.
        selection: see `load`.
        workers: see `load`.
        scheduler: of a Dask cluster whose workers find the folder at the same path; None: processes of this machine.

    Raises:
        DicomError: see `load`.
        WorkerError: see `load`; or the cluster has no worker.
        ConfigError: the scheduler cannot be used.
    """
    folder, files = _files(folder)
    seen: Counter[str] = Counter()
    accepted = 0
    with _workers(workers, scheduler, folder) as run:
        for item in _read(reader, run, folder, files, selection):
            if isinstance(item, Rejection):
                seen[item.reason] += 1
            else:
                accepted += 1
            yield item
    if not accepted:
        raise _nothing(folder, files.count, seen)


def survey(
    folder: Path, selection: Selection | None = None, workers: int | None = None, reader: Reader[object] | None = None
) -> tuple[list[list[Verdict]], Sequence[Rejection]]:
    """What `load` will do with each series, by headers alone, and the files that belong to none.

    Raises:
        DicomError: no such folder.
    """
    reader = reader or Anew()
    folder, files = _files(folder)
    with _workers(workers, None, folder) as run:
        catalogue = _catalogue(reader, run, folder, files)
        verdicts = list(reader.verdicts(run, track(catalogue, "judging series", len(catalogue)), selection))
    if selection and (merits := selection.best_of_study):
        best = best_of_study(verdicts, merits)
        verdicts = [only_best(each, best, merits) for each in verdicts]
    return verdicts, catalogue.refused


@dataclass
class _Found:
    """The files of a folder, `CHUNK` at a time, until they are catalogued."""

    chunks: deque[Files]
    count: int


def _files(folder: Path) -> tuple[Path, _Found]:
    """The folder's absolute path, as workers elsewhere have another current directory, and its files."""
    if not folder.is_dir():
        raise DicomError(
            f"a folder of DICOM at {folder}",
            "no such folder",
            "Check the path (data.dicom_dir in params.yaml, or the argument).",
        )
    folder = folder.absolute()
    paths, found = walk(folder), _Found(deque(), 0)
    while some := list(islice(paths, CHUNK)):
        found.chunks.append(pack(folder, some))
        found.count += len(some)
    return folder, found


def _workers(workers: int | None, scheduler: str | None, folder: Path) -> AbstractContextManager[OrderedMap]:
    return ordered_map(workers or os.cpu_count() or 1, scheduler, HERE_S, folder)


def _catalogue(reader: Reader[object], run: OrderedMap, folder: Path, files: _Found) -> Catalogue:
    chunks = (files.chunks.popleft() for _ in range(len(files.chunks)))  # each path stands in one place
    return Catalogue(folder, track(reader.places(run, chunks), "reading headers", files.count))


def _read(
    reader: Reader[Taken], run: OrderedMap, folder: Path, files: _Found, selection: Selection | None
) -> Iterator[Taken | Rejection]:
    catalogue = _catalogue(reader, run, folder, files)
    yield from catalogue.refused
    yield from reader.volumes(run, _outcomes(reader, run, catalogue, selection))


def _outcomes(
    reader: Reader[object], run: OrderedMap, catalogue: Catalogue, selection: Selection | None
) -> Iterator[Plan | Rejection]:
    """What is read of each series, and why the rest is not; series by series, while others are read."""

    def judged(title: str) -> Iterator[list[Verdict]]:
        return reader.verdicts(run, track(catalogue, title, len(catalogue)), selection)

    merits = selection.best_of_study if selection else None
    best = best_of_study(judged("judging series"), merits) if merits else {}
    for verdicts in judged("reading series"):
        yield from outcome(only_best(verdicts, best, merits) if merits else verdicts)


def _nothing(folder: Path, files: int, seen: Counter[str]) -> DicomError:
    """The error for a folder without a usable series."""
    reasons = "; ".join(f"{count} {reason}: {REASONS[reason]}" for reason, count in sorted(seen.items()))
    return DicomError(
        f"at least one MR series that can be used in {folder}",
        f"none in {files} files" + (f" ({reasons})" if reasons else ""),
        "Name the folder that holds whole MR series.",
    )
