"""Figures of coarser things than the labels belong to: of a series by its slices, of a patient by its series."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from pipeline.clinical import metrics
from pipeline.clinical.by_class import measured
from pipeline.clinical.resampling import Floats, draw
from pipeline.clinical.units import Units, series_of
from pipeline.contract import Calibration
from pipeline.targets import Targets, calls
from pipeline.validation_config import Validate

#: From fine to coarse.
LEVELS = ("slice", "series", "study", "patient")
HOW = "positive if any of its parts is; its probability is the {} of theirs"


def coarser(
    rows: Sequence[Mapping[str, str]], index: Sequence[Mapping[str, str]], units: Units, level: str
) -> dict[str, list[str]]:
    """Of each level above the labels' own: what each of the U units is part of; a level that joins none is left out.

    Args:
        rows: of data/prepared/slices.csv.
        index: of data/ingested/index.csv.
        level: that the labels belong to.
    """
    study = {row["series"]: row.get("study", "") for row in index}
    first: dict[str, Mapping[str, str]] = {}
    for position in units.rows:
        first.setdefault(rows[position]["unit"], rows[position])
    found = {}
    for above in LEVELS[LEVELS.index(level) + 1 :]:
        names = [_name(first[unit], above, study) for unit in units.ids]
        if all(names) and len(set(names)) < len(names):
            found[above] = names
    return found


def _name(row: Mapping[str, str], level: str, study: Mapping[str, str]) -> str:
    """What a slice is part of."""
    if level == "study":
        return study.get(row["series"], "")
    return series_of(row) if level == "series" else row["patient"]


def figures(
    units: Units,
    probabilities: Floats,
    fixed: Calibration,
    parts: Mapping[str, Sequence[str]],
    settings: Validate,
    targets: Targets,
) -> dict[str, Any]:
    """The part of reports/metrics.json under `levels`: AUROC, sensitivity and specificity at each level of `parts`.

    The threshold stays that of the labels' own level: no other was fixed on validation patients.

    Args:
        probabilities: (U, K), calibrated.
        fixed: on validation patients.
        parts: of `coarser`.
    """
    if targets.kind == "multiclass":
        reason = "a whole whose parts are of several classes has no single one"
        return {level: {"reason": reason} for level in parts}
    return {level: _at(units, probabilities, fixed.threshold, names, settings) for level, names in parts.items()}


def _at(
    units: Units,
    probabilities: Floats,
    threshold: float | Sequence[float] | None,
    names: Sequence[str],
    settings: Validate,
) -> dict[str, Any]:
    place = {name: position for position, name in enumerate(dict.fromkeys(names))}
    of = np.array([place[name] for name in names], dtype=np.int64)
    shape = (len(place), units.labels.shape[1])
    labels, scores = np.zeros(shape, dtype=np.int64), np.full(shape, -np.inf)
    np.maximum.at(labels, of, units.labels)
    if settings.aggregate == "max":
        np.maximum.at(scores, of, probabilities)
    else:
        scores = np.zeros(shape)
        np.add.at(scores, of, probabilities)
        scores /= np.bincount(of, minlength=len(place))[:, None]
    patient = dict(zip(names, units.patients, strict=True))
    drawn = draw([patient[name] for name in place], 0, settings.confidence, 0)  # none of these draws patients
    shares = {"sensitivity": metrics.sensitivity, "specificity": metrics.specificity}
    finite, called = np.isfinite(scores).all(), calls(scores, threshold)
    return {
        "units": len(place),
        "positives": [int(count) for count in labels.sum(axis=0)] if shape[1] > 1 else int(labels.sum()),
        "aggregation": HOW.format("largest" if settings.aggregate == "max" else "mean"),
        "auroc": metrics.auroc(labels, scores, drawn).figures(),
        **measured(shares, labels, called, drawn, finite=bool(finite)),
    }
