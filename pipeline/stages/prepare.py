"""Stage `prepare`: labelled volumes as the network's slices, one memory-mapped array and its index."""

from __future__ import annotations

import os
from collections.abc import Iterable
from functools import partial
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

from pipeline.clinical.labelled import COLUMNS, plan, slices
from pipeline.config import Params
from pipeline.errors import LabelError
from pipeline.files import read_csv, write_atomic, write_csv
from pipeline.inference.answers import Slices
from pipeline.parallel import ordered_map
from pipeline.progress import say, track
from pipeline.stages import runner

INGESTED, SPLIT, PREPARED = Path("data/ingested"), Path("data/split.csv"), Path("data/prepared")
#: Fewer series than this are done before worker processes have started.
WORKERS_PAY_FROM = 300


def prepare(params: Params) -> None:
    """Write data/prepared/slices.npy, uint8 (N, size, size), and slices.csv in its order.

    Raises:
        LabelError: no series is labelled, or a label names a slice that its series does not have.
        SplitError: a labelled patient is on no side of the split.
        DataError: a volume cannot be prepared; the message names the series' pseudonym.
    """
    index, labels = (read_csv(INGESTED / name) for name in ("index.csv", "labels.csv"))
    if not labels:
        raise LabelError("a labelled series", f"none in {INGESTED}/labels.csv", "Set data.labels and run ingest.")
    sides = {row["patient"]: row["split"] for row in read_csv(SPLIT)}
    jobs, rows = plan(index, labels, sides, params.data.label_level)
    size = params.prepare.size
    header = {"descr": "|u1", "fortran_order": False, "shape": (len(rows), size, size)}
    workers = (params.ingest.workers or len(os.sched_getaffinity(0))) if len(jobs) >= WORKERS_PAY_FROM else 1
    with ordered_map(workers) as each:
        blocks = track(each(partial(slices, transform=params.prepare), jobs), "prepare", total=len(jobs))
        write_atomic(PREPARED / "slices.npy", partial(_stream, header=header, blocks=blocks))
    write_csv(PREPARED / "slices.csv", COLUMNS, rows)
    say(f"prepare: {len(rows)} slices of {len(jobs)} series at {size} x {size}")


def _stream(handle: BinaryIO, header: dict[str, Any], blocks: Iterable[Slices]) -> None:
    """An .npy file, block after block: no more than a few series are in memory."""
    np.lib.format.write_array_header_1_0(handle, header)
    for block in blocks:
        handle.write(block.tobytes())


if __name__ == "__main__":
    runner.run("prepare", prepare)
