"""The units that labels belong to (a slice, series, study or patient) on one side of the split."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from pipeline.contract import LabelLevel
from pipeline.errors import LabelError
from pipeline.targets import BINARY, SEPARATOR, Targets

#: What several units of a label level are called.
PLURAL: Mapping[LabelLevel, str] = {"patient": "patients", "study": "studies", "series": "series", "slice": "slices"}


@dataclass(frozen=True)
class Units:
    """U units and the N slices that they are made of.

    Attributes:
        ids: U unit identifiers, in order of first appearance.
        patients: the patient of each unit (U).
        labels: int64 (U, K) of 0 and 1, of each of K classes; K is 1 where the task is binary.
        rows: int64 (N,), positions of the slices in data/prepared/slices.npy.
        slice_units: the unit of each slice (N).
        places: of each slice (N) its volume, and its place in it; empty where nobody asks.
    """

    ids: list[str]
    patients: list[str]
    labels: npt.NDArray[np.int64]
    rows: npt.NDArray[np.int64]
    slice_units: list[str]
    places: list[tuple[str, int]] = field(default_factory=list)


def series_of(row: Mapping[str, str]) -> str:
    """The series `S-...` of a row of a volume, which is called `S-...-v2` where a series holds several."""
    return row["series"].partition("-v")[0]


def units_of(slices: Sequence[Mapping[str, str]], side: str, targets: Targets = BINARY) -> Units:
    """The units of `side`, from the rows of data/prepared/slices.csv (in the order of slices.npy).

    Raises:
        LabelError: a label that the task, and so the model, does not know.
    """
    rows = [position for position, row in enumerate(slices) if row["split"] == side]
    first: dict[str, Mapping[str, str]] = {}
    for position in rows:
        first.setdefault(slices[position]["unit"], slices[position])
    _check([row["label"] for row in first.values()], side, targets)
    return Units(
        ids=list(first),
        patients=[row["patient"] for row in first.values()],
        labels=targets.encode([row["label"] for row in first.values()]).astype(np.int64),
        rows=np.array(rows, dtype=np.int64),
        slice_units=[slices[position]["unit"] for position in rows],
        places=[(slices[position]["series"], int(slices[position]["slice_index"])) for position in rows],
    )


def _check(labels: Sequence[str], side: str, targets: Targets) -> None:
    """Every label is made of places of classes; all but those of a multilabel task of exactly one."""
    known = {str(place) for place in range(max(2, targets.outputs))}
    for label in sorted(set(labels)):
        places = label.split(SEPARATOR) if label else []
        if not known.issuperset(places) or (targets.kind != "multilabel" and len(places) != 1):
            raise LabelError(
                f"labels of {side} units among {', '.join(sorted(known, key=int))} ({targets.kind})",
                f"{label!r}, which no model of this task was trained on",
                "Run `dvc repro` with the data section of params.yaml that the models were trained with.",
            )
