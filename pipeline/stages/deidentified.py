"""De-identified DICOM of what ingest accepted, and the way back from a pseudonym; both on demand of `stages.ingest`."""

from __future__ import annotations

import os
import sys
from collections import defaultdict
from collections.abc import Mapping
from pathlib import Path

from pipeline.config import Params
from pipeline.dicom.deidentify import Options
from pipeline.dicom.export import Job, Written, remove_others, write_series
from pipeline.dicom.pseudonym import Pseudonyms
from pipeline.dicom.reasons import REASONS
from pipeline.dicom.sources import Source, resolve, sources
from pipeline.errors import ConfigError, DataError
from pipeline.parallel import ordered_map
from pipeline.progress import say, track

#: A process is started only for so many series; fewer are written sooner than it starts.
SERIES_PER_WORKER = 8

#: Said wherever volumes leave the pipeline: the profile is about headers, and a face can be rendered from a head scan.
FACE_WARNING = (
    "faces are not removed: a face can be rendered from a head scan, so treat volumes and de-identified DICOM as "
    "personal data"
)


def check_folder(folder: Path, params: Params) -> None:
    """That de-identified files do not fall among the scans they came from, nor among what the stage puts out.

    Raises:
        ConfigError: they would.
    """
    place = folder.resolve()
    for taken, what in ((params.data.dicom_dir, "the scans"), (Path("data"), "the artefacts of the stages")):
        root = taken.resolve()
        if place == root or root in place.parents or (what == "the scans" and place in root.parents):
            raise ConfigError(
                "--deidentify-to a folder of its own", f"one that holds {what} or lies among them", "Name another one."
            )


def write(folder: Path, accepted: Mapping[str, set[str]], names: Pseudonyms, params: Params) -> None:
    """Write the files of the accepted series below `folder`; those of earlier runs that are no longer accepted go.

    Args:
        folder: made where it is not there.
        accepted: SOPInstanceUIDs of each SeriesInstanceUID.
        names: the key.
        params: how many processes, and what may stay.

    Raises:
        StorageError: the disk is full.
    """
    files: dict[str, list[Source]] = defaultdict(list)
    for source in track(sources(params.data.dicom_dir), "finding the files of accepted series"):
        if source.sop_uid in accepted.get(source.series_uid, ()):
            files[source.series_uid].append(source)
    options = Options(keep_sex_age=params.ingest.keep_sex_age)
    jobs = sorted(
        (Job(names.series(uid), tuple(found), folder, names, options) for uid, found in files.items()),
        key=lambda job: job.series,
    )
    workers = min(params.ingest.workers or os.cpu_count() or 1, len(jobs) // SERIES_PER_WORKER) or 1
    with ordered_map(workers) as run:
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


def print_meaning(token: str, names: Pseudonyms, params: Params) -> None:
    """Print to stdout what a pseudonym stands for.

    Raises:
        DataError: for nothing in the folder of scans.
    """
    meaning = resolve(token, params.data.dicom_dir, names)
    if meaning is None:
        raise DataError(
            "a pseudonym or token of a file below data.dicom_dir", "none that gives it", "Use the key that made it."
        )
    sys.stdout.write(f"{meaning}\n")
