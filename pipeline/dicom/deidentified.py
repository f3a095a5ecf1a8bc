"""A folder of de-identified DICOM: the accepted series of a folder of scans, and no others."""

from __future__ import annotations

import os
from collections import defaultdict
from collections.abc import Mapping, Set
from pathlib import Path

from pipeline.dicom.deidentify import Options
from pipeline.dicom.export import Job, Written, remove_others, write_series
from pipeline.dicom.pseudonym import Pseudonyms
from pipeline.dicom.reasons import REASONS
from pipeline.dicom.sources import Source, sources
from pipeline.errors import ConfigError
from pipeline.parallel import ordered_map
from pipeline.progress import say, track

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
    folder: Path,
    accepted: Mapping[str, Set[str]],
    scans: Path,
    names: Pseudonyms,
    options: Options,
    workers: int | None = None,
) -> None:
    """Write the files of the accepted series below `folder`; those of earlier runs that are no longer accepted go.

    Args:
        folder: made where it is not there.
        accepted: SOPInstanceUIDs of each SeriesInstanceUID.
        scans: the folder that they lie in.
        names: the key.
        options: what of the patient may stay.
        workers: processes; None: one per core.

    Raises:
        StorageError: the disk is full.
    """
    files: dict[str, list[Source]] = defaultdict(list)
    for source in track(sources(scans), "finding the files of accepted series"):
        if source.sop_uid in accepted.get(source.series_uid, ()):
            files[source.series_uid].append(source)
    jobs = sorted(
        (Job(names.series(uid), tuple(found), folder, names, options) for uid, found in files.items()),
        key=lambda job: job.series,
    )
    processes = min(workers or os.cpu_count() or 1, len(jobs) // SERIES_PER_WORKER) or 1
    with ordered_map(processes) as run:
        written = list(track(run(write_series, jobs), "writing de-identified DICOM", len(jobs)))
    removed = remove_others(folder, (path for series in written for path in series.paths))
    _say(written, removed)


def _say(written: list[Written], removed: int) -> None:
    done = [series for series in written if series.reason is None]
    say(f"ingest: {sum(len(series.paths) for series in done)} de-identified files of {len(done)} series written")
    if removed:
        say(f"ingest: {removed} de-identified files of earlier runs removed: their series are no longer accepted")
    for series in written:
        if series.reason:
            say(f"ingest: {series.series} is not among them, {series.reason}: {REASONS[series.reason]}")
