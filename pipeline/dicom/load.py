"""A folder of DICOM to scans, one volume in memory at a time; the entrance of `pipeline.dicom`."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterator
from contextlib import AbstractContextManager
from dataclasses import replace
from pathlib import Path
from typing import Protocol, TypeVar

from pipeline.contract import Selection
from pipeline.dicom.admission import Plan, Verdict, best_of_study, group, judge, outcome
from pipeline.dicom.header import Instance, find_files, read_headers
from pipeline.dicom.reasons import REASONS, Rejection
from pipeline.dicom.scan import Scan, read_scan
from pipeline.dicom.sources import relative
from pipeline.errors import DicomError
from pipeline.parallel import OrderedMap, ordered_map
from pipeline.progress import track

#: Files a worker takes at a time.
CHUNK = 32
#: A process is started only for so many files: start and imports take 1.5 to 2.5 s, a file 0.4 ms (256²) to 1.2 (512²),
#: in JPEG 2000 8 to 30 ms. So a share is worth a start of 2 s from 1,700 to 4,500 files on, or from 70 to 250. Of which
#: kind they are is not known beforehand: this is near the geometric middle of 70 and 4,500.
FILES_PER_WORKER = 512

Taken = TypeVar("Taken", covariant=True)


class Reader(Protocol[Taken]):
    """How files are read: anew, or with what is remembered of them."""

    def headers(self, run: OrderedMap, paths: list[Path]) -> Iterator[Instance | Rejection]:
        """The headers of these files, in any order."""
        ...

    def volumes(self, run: OrderedMap, plans: list[Plan]) -> Iterator[Taken | Rejection]:
        """What becomes of each planned volume, in the order of the plans."""
        ...


class Anew:
    """Reads every file."""

    def headers(self, run: OrderedMap, paths: list[Path]) -> Iterator[Instance | Rejection]:
        """See `Reader`."""
        chunks = [paths[start : start + CHUNK] for start in range(0, len(paths), CHUNK)]
        return (header for chunk in run(read_headers, chunks) for header in chunk)

    def volumes(self, run: OrderedMap, plans: list[Plan]) -> Iterator[Scan | Rejection]:
        """See `Reader`."""
        return run(read_scan, plans)


def load(folder: Path, selection: Selection | None = None, workers: int | None = None) -> Iterator[Scan | Rejection]:
    """Yield every volume that is taken below `folder` as a `Scan`, and why a series, a part of it, or a file is not.

    Headers come first, all of them; pixels are then read series by series, only of those that `selection` wants. The
    order depends on the contents alone, but for refused files, which come in the order of their paths.
    `Rejection.source` is the path relative to `folder`, or the SeriesInstanceUID.

    Args:
        folder: read recursively; links are followed, names and endings do not matter.
        selection: the rules; None: every volume of at least two slices.
        workers: processes; None: one per core.

    Raises:
        DicomError: no such folder, or no MR series in it that can be used.
    """
    return load_with(Anew(), folder, selection, workers)


def load_with(
    reader: Reader[Taken], folder: Path, selection: Selection | None = None, workers: int | None = None
) -> Iterator[Taken | Rejection]:
    """`load`, with volumes as `reader` gives them."""
    paths = _files(folder)
    seen: Counter[str] = Counter()
    accepted = 0
    with _processes(workers, paths) as run:
        for item in _read(reader, run, folder, paths, selection):
            if isinstance(item, Rejection):
                seen[item.reason] += 1
            else:
                accepted += 1
            yield item
    if not accepted:
        raise _nothing(folder, len(paths), seen)


def survey(
    folder: Path, selection: Selection | None = None, workers: int | None = None, reader: Reader[object] | None = None
) -> tuple[list[list[Verdict]], list[Rejection]]:
    """What `load` will do with each series, by headers alone, and the files that belong to none.

    Raises:
        DicomError: no such folder.
    """
    paths = _files(folder)
    with _processes(workers, paths) as run:
        return _judged(reader or Anew(), run, folder, paths, selection)


def _files(folder: Path) -> list[Path]:
    if not folder.is_dir():
        raise DicomError(
            f"a folder of DICOM at {folder}",
            "no such folder",
            "Check the path (data.dicom_dir in params.yaml, or the argument).",
        )
    return find_files(folder)


def _processes(workers: int | None, paths: list[Path]) -> AbstractContextManager[OrderedMap]:
    return ordered_map(min(workers or os.cpu_count() or 1, len(paths) // FILES_PER_WORKER) or 1)


def _judged(
    reader: Reader[object], run: OrderedMap, folder: Path, paths: list[Path], selection: Selection | None
) -> tuple[list[list[Verdict]], list[Rejection]]:
    """Verdicts by series, in the order of their UIDs, and refused files in the order of their paths."""
    series, refused = group(track(reader.headers(run, paths), "reading headers", len(paths)))
    verdicts = [judge(instances, selection) for instances in series]
    if selection and selection.best_of_study:
        verdicts = best_of_study(verdicts, selection.best_of_study)
    files = sorted(refused, key=lambda rejection: rejection.source)
    return verdicts, [replace(file, source=relative(Path(file.source), folder)) for file in files]


def _read(
    reader: Reader[Taken], run: OrderedMap, folder: Path, paths: list[Path], selection: Selection | None
) -> Iterator[Taken | Rejection]:
    series, refused = _judged(reader, run, folder, paths, selection)
    yield from refused
    plans: list[Plan] = []
    for verdicts in series:
        for found in outcome(verdicts):
            if isinstance(found, Plan):
                plans.append(found)
            else:
                yield found
    yield from track(reader.volumes(run, plans), "reading series", len(plans))


def _nothing(folder: Path, files: int, seen: Counter[str]) -> DicomError:
    """The error for a folder without a usable series."""
    reasons = "; ".join(f"{count} {reason}: {REASONS[reason]}" for reason, count in sorted(seen.items()))
    return DicomError(
        f"at least one MR series that can be used in {folder}",
        f"none in {files} files" + (f" ({reasons})" if reasons else ""),
        "Name the folder that holds whole MR series.",
    )
