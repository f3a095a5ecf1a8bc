"""Stage `prepare`: labelled volumes as the network's slices, one memory-mapped array and its index."""

from __future__ import annotations

import os
from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
import numpy.typing as npt

from pipeline.config import Params
from pipeline.contract import LabelLevel, Transform
from pipeline.dicom.pseudonym import series_of
from pipeline.errors import DataError, LabelError, SplitError
from pipeline.files import read_csv, write_atomic, write_csv
from pipeline.imaging import nifti
from pipeline.imaging.prepare import prepare as prepared
from pipeline.parallel import ordered_map
from pipeline.progress import say, track
from pipeline.stages import runner

INGESTED, SPLIT, PREPARED = Path("data/ingested"), Path("data/split.csv"), Path("data/prepared")
COLUMNS = ("series", "patient", "slice_index", "unit", "label", "split")
#: Fewer series than this are done before worker processes have started.
WORKERS_PAY_FROM = 300

Row = dict[str, Any]
Slices = npt.NDArray[np.uint8]


@dataclass(frozen=True)
class Job:
    """One labelled series: the pseudonym, its file, how many slices it has, and which of them are wanted."""

    series: str
    path: Path
    n_slices: int
    wanted: tuple[int, ...]


def prepare(params: Params) -> None:
    """Write data/prepared/slices.npy, uint8 (N, size, size), and slices.csv in its order.

    Raises:
        LabelError: no series is labelled, or a label names a slice that its series does not have.
        SplitError: a labelled patient is on no side of the split.
        DataError: a volume cannot be prepared; the message names the series' pseudonym.
    """
    jobs, rows = plan(params.data.label_level)
    size = params.prepare.size
    header = {"descr": "|u1", "fortran_order": False, "shape": (len(rows), size, size)}
    workers = (params.ingest.workers or len(os.sched_getaffinity(0))) if len(jobs) >= WORKERS_PAY_FROM else 1
    with ordered_map(workers) as each:
        blocks = track(each(partial(slices, transform=params.prepare), jobs), "prepare", total=len(jobs))
        write_atomic(PREPARED / "slices.npy", partial(_stream, header=header, blocks=blocks))
    write_csv(PREPARED / "slices.csv", COLUMNS, rows)
    say(f"prepare: {len(rows)} slices of {len(jobs)} series at {size} x {size}")


def plan(level: LabelLevel) -> tuple[list[Job], list[Row]]:
    """The labelled series in order of their pseudonym, and a row for each slice that is kept."""
    index = {row["series"]: row for row in read_csv(INGESTED / "index.csv")}
    sides = {row["patient"]: row["split"] for row in read_csv(SPLIT)}
    labels: dict[str, list[Row]] = defaultdict(list)
    for row in read_csv(INGESTED / "labels.csv"):
        labels[row["series"]].append(row)
    if not labels:
        raise LabelError("a labelled series", f"none in {INGESTED}/labels.csv", "Set data.labels and run ingest.")
    jobs, rows = [], []
    for series in sorted(labels):
        known = index[series]
        if known["patient"] not in sides:
            raise SplitError("every labelled patient in data/split.csv", "one that is not", "Run `dvc repro split`.")
        kept = _kept(labels[series], int(known["n_slices"]), level)
        jobs.append(Job(series, Path(known["path"]), int(known["n_slices"]), tuple(kept)))
        for slice_index, label in kept.items():
            unit = f"{series}/{slice_index}" if level == "slice" else series_of(known[level])
            place = {"series": series, "patient": known["patient"], "slice_index": slice_index}
            rows.append({**place, "unit": unit, "label": label, "split": sides[known["patient"]]})
    return jobs, rows


def _kept(labels: list[Row], n_slices: int, level: LabelLevel) -> dict[int, Any]:
    """Label by slice index, rising: every slice of the series, or at slice level those that have a label."""
    if level != "slice":
        return dict.fromkeys(range(n_slices), labels[0]["label"])
    kept = {int(row["slice_index"]): row["label"] for row in labels}
    beyond = [slice_index for slice_index in kept if not 0 <= slice_index < n_slices]
    if beyond:
        raise LabelError(
            f"labels of slices 0 to {n_slices - 1}", f"one of slice {beyond[0]}", "Run `dvc repro ingest`."
        )
    return dict(sorted(kept.items()))


def slices(job: Job, transform: Transform) -> Slices:
    """The wanted slices of one series, uint8 (n, size, size)."""
    try:
        whole = prepared(nifti.load(job.path), transform)
    except DataError as error:
        raise DataError(error.expected, f"{error.found} (series {job.series})", error.remedy) from error
    if len(whole) != job.n_slices:
        raise DataError(
            f"{job.n_slices} slices in series {job.series}, as its index says", str(len(whole)), "Run ingest again."
        )
    return whole[list(job.wanted)]


def _stream(handle: BinaryIO, header: dict[str, Any], blocks: Iterable[Slices]) -> None:
    """An .npy file, block after block: no more than a few series are in memory."""
    np.lib.format.write_array_header_1_0(handle, header)
    for block in blocks:
        handle.write(block.tobytes())


if __name__ == "__main__":
    runner.run("prepare", prepare)
