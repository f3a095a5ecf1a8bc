"""A folder of DICOM to scans, one volume in memory at a time; the entrance of `pipeline.dicom`."""

from __future__ import annotations

import os
from collections import Counter, deque
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from functools import partial
from itertools import islice
from pathlib import Path

from pipeline.contract import Selection
from pipeline.dicom.admission import Plan, Verdict, best_of_study, only_best, outcome
from pipeline.dicom.catalogue import Catalogue, Files, judge_series, pack, place
from pipeline.dicom.header import walk_files
from pipeline.dicom.reasons import REASONS, Rejection
from pipeline.dicom.scan import Scan, read_scan
from pipeline.errors import DicomError
from pipeline.parallel import OrderedMap, ordered_map
from pipeline.progress import track

#: Files a worker takes at a time.
CHUNK = 32
#: A process is started only for so many files: start and imports take 1.5 to 2.5 s, a file 0.4 ms (256²) to 1.2 (512²),
#: in JPEG 2000 8 to 30 ms. So a share is worth a start of 2 s from 1,700 to 4,500 files on, or from 70 to 250. Of which
#: kind they are is not known beforehand: this is near the geometric middle of 70 and 4,500.
FILES_PER_WORKER = 512


def load(
    folder: Path, selection: Selection | None = None, workers: int | None = None, scheduler: str | None = None
) -> Iterator[Scan | Rejection]:
    """Yield every volume that is taken below `folder` as a `Scan`, and why a series, a part of it, or a file is not.

    All headers are read first, to tell the series; then, series by series, they are read again and judged, and pixels
    are read of those that `selection` wants. Refused files come first, in the order of their paths, then the series in
    an order that depends on the contents alone.
    `Rejection.source` is the path relative to `folder`, or the SeriesInstanceUID.

    Args:
        folder: read recursively; links are followed, names and endings do not matter.
        selection: the rules; None: every volume of at least two slices.
        workers: processes; None: one per core.
        scheduler: of a Dask cluster whose workers find the folder at the same path; None: processes of this machine.

    Raises:
        DicomError: no such folder, or no MR series in it that can be used.
        ConfigError: the scheduler cannot be used.
        WorkerError: worker after worker was lost over the same work, or there is none.
    """
    folder, files = _files(folder)
    seen: Counter[str] = Counter()
    accepted = 0
    with _workers(workers, scheduler, files) as run:
        for item in _read(run, folder, files, selection):
            if isinstance(item, Scan):
                accepted += 1
            else:
                seen[item.reason] += 1
            yield item
    if not accepted:
        raise _nothing(folder, files.count, seen)


def survey(
    folder: Path, selection: Selection | None = None, workers: int | None = None
) -> tuple[list[list[Verdict]], Sequence[Rejection]]:
    """What `load` will do with each series, by headers alone, and the files that belong to none.

    Raises:
        DicomError: no such folder.
    """
    folder, files = _files(folder)
    with _workers(workers, None, files) as run:
        catalogue = _catalogue(run, folder, files)
        verdicts = list(_judged(run, catalogue, selection, "judging series"))
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
    paths, found = walk_files(folder), _Found(deque(), 0)
    while some := list(islice(paths, CHUNK)):
        found.chunks.append(pack(folder, some))
        found.count += len(some)
    return folder, found


def _workers(workers: int | None, scheduler: str | None, files: _Found) -> AbstractContextManager[OrderedMap]:
    return ordered_map(min(workers or os.cpu_count() or 1, files.count // FILES_PER_WORKER) or 1, scheduler)


def _catalogue(run: OrderedMap, folder: Path, files: _Found) -> Catalogue:
    chunks = (files.chunks.popleft() for _ in range(len(files.chunks)))  # each path stands in one place
    placed = (file for chunk in run(place, chunks) for file in chunk)
    return Catalogue(folder, track(placed, "reading headers", files.count))


def _judged(run: OrderedMap, catalogue: Catalogue, selection: Selection | None, title: str) -> Iterator[list[Verdict]]:
    """Verdicts by series, in the order of their UIDs."""
    return run(partial(judge_series, selection=selection), track(catalogue, title, len(catalogue)))


def _read(run: OrderedMap, folder: Path, files: _Found, selection: Selection | None) -> Iterator[Scan | Rejection]:
    catalogue = _catalogue(run, folder, files)
    yield from catalogue.refused
    yield from run(_taken, _outcomes(run, catalogue, selection))


def _outcomes(run: OrderedMap, catalogue: Catalogue, selection: Selection | None) -> Iterator[Plan | Rejection]:
    """What is read of each series, and why the rest is not; series by series, while others are read."""
    merits = selection.best_of_study if selection else None
    best = best_of_study(_judged(run, catalogue, selection, "judging series"), merits) if merits else {}
    for verdicts in _judged(run, catalogue, selection, "reading series"):
        yield from outcome(only_best(verdicts, best, merits) if merits else verdicts)


def _taken(found: Plan | Rejection) -> Scan | Rejection:
    """What a plan comes to; a refusal has come to its end and keeps its place."""
    return read_scan(found) if isinstance(found, Plan) else found


def _nothing(folder: Path, files: int, seen: Counter[str]) -> DicomError:
    """The error for a folder without a usable series."""
    reasons = "; ".join(f"{count} {reason}: {REASONS[reason]}" for reason, count in sorted(seen.items()))
    return DicomError(
        f"at least one MR series that can be used in {folder}",
        f"none in {files} files" + (f" ({reasons})" if reasons else ""),
        "Name the folder that holds whole MR series.",
    )
