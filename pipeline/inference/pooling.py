"""From slices to the unit that a label belongs to."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt


def pool_mean(values: npt.NDArray[Any], units: Sequence[str]) -> tuple[list[str], npt.NDArray[np.float32]]:
    """The mean over the slices of each unit; slices of a unit need not be neighbours.

    Args:
        values: (N,) slice logits, or (N, F) slice features.
        units: N unit identifiers, one a slice.

    Returns:
        The U unit identifiers in order of first appearance, and float32 (U,) or (U, F) means; summed in float64, so
        that the order of the slices does not show.
    """
    if len(values) != len(units):
        raise ValueError(f"{len(values)} values for {len(units)} slices")
    order = {unit: position for position, unit in enumerate(dict.fromkeys(units))}
    index = np.array([order[unit] for unit in units], dtype=np.int64)
    sums = np.zeros((len(order), *values.shape[1:]), dtype=np.float64)
    np.add.at(sums, index, values)
    counts = np.bincount(index, minlength=len(order)).reshape(-1, *[1] * (values.ndim - 1))
    return list(order), (sums / counts).astype(np.float32)
