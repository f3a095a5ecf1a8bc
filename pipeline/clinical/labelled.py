"""Labelled volumes: which slices of them count, for which unit, with which label, and as a network sees them."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pipeline.contract import LabelLevel, Transform
from pipeline.dicom.pseudonym import series_of
from pipeline.errors import DataError, LabelError, SplitError
from pipeline.imaging import nifti
from pipeline.imaging.prepare import prepare as prepared
from pipeline.inference.answers import Slices

#: Of data/prepared/slices.csv.
COLUMNS = ("series", "patient", "slice_index", "unit", "label", "split")

Row = dict[str, Any]


@dataclass(frozen=True)
class Job:
    """One labelled series: the pseudonym, its file, how many slices it has, and which of them are wanted."""

    series: str
    path: Path
    n_slices: int
    wanted: tuple[int, ...]


def plan(
    index: Sequence[Mapping[str, str]],
    labels: Sequence[Mapping[str, str]],
    sides: Mapping[str, str],
    level: LabelLevel,
) -> tuple[list[Job], list[Row]]:
    """The labelled series in order of their pseudonym, and a row for each slice that is kept.

    Args:
        index: rows of data/ingested/index.csv.
        labels: rows of data/ingested/labels.csv.
        sides: of each labelled patient.
        level: what a label belongs to.

    Raises:
        LabelError: a label names a slice that its series does not have.
        SplitError: a labelled patient is on no side.
    """
    known = {row["series"]: row for row in index}
    own: dict[str, list[Mapping[str, str]]] = defaultdict(list)
    for row in labels:
        own[row["series"]].append(row)
    jobs, rows = [], []
    for series in sorted(own):
        found = known[series]
        patient = found["patient"]
        if patient not in sides:
            raise SplitError("every labelled patient in data/split.csv", "one that is not", "Run `dvc repro split`.")
        kept = _kept(own[series], int(found["n_slices"]), level)
        jobs.append(Job(series, Path(found["path"]), int(found["n_slices"]), tuple(kept)))
        for slice_index, label in kept.items():
            unit = f"{series}/{slice_index}" if level == "slice" else series_of(found[level])
            place = {"series": series, "patient": patient, "slice_index": slice_index}
            rows.append({**place, "unit": unit, "label": label, "split": sides[patient]})
    return jobs, rows


def _kept(labels: Sequence[Mapping[str, str]], n_slices: int, level: LabelLevel) -> dict[int, Any]:
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
