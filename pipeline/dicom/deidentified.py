"""A folder of de-identified DICOM: the accepted series of a folder of scans, and no others."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from itertools import chain, groupby, islice
from operator import itemgetter
from pathlib import Path

from pipeline.dicom.deidentify import Options
from pipeline.dicom.export import Job, Written, place, remove_others, write_series
from pipeline.dicom.pseudonym import Pseudonyms
from pipeline.dicom.reasons import REASONS
from pipeline.dicom.scan import Described
from pipeline.errors import ConfigError
from pipeline.parallel import ordered_map
from pipeline.progress import say

#: A process is started only for so many series; fewer are written sooner than it starts.
SERIES_PER_WORKER = 8

#: Said wherever volumes leave the pipeline: the profile is about headers, and a face can be rendered from a head scan.
FACE_WARNING = (
    "faces are not removed: a face can be rendered from a head scan, so treat volumes and de-identified DICOM as "
    "personal data"
)


def check_folder(folder: Path, scans: Path, artefacts: Path) -> None:
    """That de-identified files do not fall among the scans they come from, nor among what the stages put out.

    Raises:
        ConfigError: they would.
    """
    place, source, outputs = folder.resolve(), scans.resolve(), artefacts.resolve()
    if {source, outputs} & {place, *place.parents} or place in source.parents:
        raise ConfigError(
            "--deidentify-to a folder of its own",
            "one that holds the scans, or lies among them or the artefacts of the stages",
            "Name another one.",
        )


def write(
    folder: Path, scans: Iterable[Described], names: Pseudonyms, options: Options, workers: int | None = None
) -> None:
    """Write the files of accepted series below `folder`; those of earlier runs that are no longer accepted go.

    Args:
        folder: made where it is not there.
        scans: volumes that were accepted, those of one series one after the other. A file goes out whole if one of them
            is of it, and once if several are. They are taken as they come and not kept.
        names: the key.
        options: what of the patient may stay.
        workers: processes; None: one per core.

    Raises:
        StorageError: the disk is full.
    """
    jobs = _jobs(folder, scans, names, options)
    first = list(islice(jobs, SERIES_PER_WORKER))
    processes = (workers or os.cpu_count() or 1) if len(first) == SERIES_PER_WORKER else 1
    places: set[str] = set()
    files = removed = done = 0
    with ordered_map(processes) as run:
        for series in run(write_series, chain(first, jobs)):
            places.add(series.place)
            files, removed, done = files + series.files, removed + series.removed, done + bool(series.files)
            if series.reason or not series.files:
                say(f"ingest: {Path(series.place).name} is not among the de-identified: {_why(series)}")
    removed += remove_others(folder, places)
    say(f"ingest: {files} de-identified files of {done} series written")
    if removed:
        say(f"ingest: {removed} de-identified files of earlier runs removed: they are no longer accepted")


def _jobs(folder: Path, scans: Iterable[Described], names: Pseudonyms, options: Options) -> Iterator[Job]:
    """One job a series, with the files of all its volumes."""
    ours = ((place(scan, names), scan.files) for scan in scans)
    for series, volumes in groupby(ours, key=itemgetter(0)):
        files = dict.fromkeys(path for _, paths in volumes for path in paths)
        yield Job(series, tuple(files), folder, names, options)


def _why(series: Written) -> str:
    reason = series.reason or "burned_in"
    return f"{reason}, {REASONS[reason]}"
