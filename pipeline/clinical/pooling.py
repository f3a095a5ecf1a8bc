"""From slices to the unit that a label belongs to."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from pipeline.clinical.units import Units
from pipeline.contract import Pooling
from pipeline.inference.neighbours import smoothed

Floats = npt.NDArray[np.float32]


def pool(rows: npt.NDArray[Any], units: Sequence[str], pooling: Pooling) -> tuple[list[str], Floats]:
    """The network's rows of slices to logits of units; slices of a unit need not be neighbours.

    Args:
        rows: (N, K) logits; with attention (N, K + 1), the score of each slice in the last column.
        units: N unit identifiers, one a slice.

    Returns:
        The U unit identifiers in order of first appearance, and their logits, float32 (U, K).
    """
    if pooling == "mean":
        return pool_mean(rows, units)
    names, index = _places(rows, units)
    if pooling == "max":
        highest = np.full((len(names), rows.shape[1]), -np.inf)
        np.maximum.at(highest, index, rows)
        return names, highest.astype(np.float32)
    scores, logits = rows[:, -1].astype(np.float64), rows[:, :-1]
    top = np.full(len(names), -np.inf)
    np.maximum.at(top, index, scores)
    weight = np.exp(scores - top[index])[:, None]
    return names, (_sums(weight * logits, index, len(names)) / _sums(weight, index, len(names))).astype(np.float32)


def unit_logits(rows: npt.NDArray[Any], units: Units, pooling: Pooling, neighbours_sd: float) -> Floats:
    """Logits (U, K) of units, and where these are slices, with those of their neighbours (`calibrator.Calibration`)."""
    return smoothed(pool(rows, units.slice_units, pooling)[1], units.places, neighbours_sd)


def pool_mean(values: npt.NDArray[Any], units: Sequence[str]) -> tuple[list[str], Floats]:
    """The mean over the slices of each unit.

    Args:
        values: (N,) or (N, F).
        units: N unit identifiers, one a slice.

    Returns:
        The U unit identifiers in order of first appearance, and float32 (U,) or (U, F) means; summed in float64, so
        that the order of the slices does not show.
    """
    names, index = _places(values, units)
    counts = np.bincount(index, minlength=len(names)).reshape(-1, *[1] * (values.ndim - 1))
    return names, (_sums(values, index, len(names)) / counts).astype(np.float32)


def _places(values: npt.NDArray[Any], units: Sequence[str]) -> tuple[list[str], npt.NDArray[np.int64]]:
    """The units, and the place among them of each slice's."""
    if len(values) != len(units):
        raise ValueError(f"{len(values)} values for {len(units)} slices")
    order = {unit: position for position, unit in enumerate(dict.fromkeys(units))}
    return list(order), np.array([order[unit] for unit in units], dtype=np.int64)


def _sums(values: npt.NDArray[Any], index: npt.NDArray[np.int64], count: int) -> npt.NDArray[np.float64]:
    sums = np.zeros((count, *values.shape[1:]), dtype=np.float64)
    np.add.at(sums, index, values)
    return sums
