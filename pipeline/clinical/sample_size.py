"""Were there enough patients? The width of intervals against the wanted one."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np


def figures(estimates: Mapping[str, Mapping[str, Any]], patients: int, wanted: float) -> dict[str, Any]:
    """The part of reports/metrics.json under `sample_size`.

    A width falls with the root of the number of patients, if these stay of the same kind and mix.

    Args:
        estimates: figures with `value`, `low` and `high`, by name.
        patients: on the test side.
        wanted: width of an interval, from its lower to its upper bound.
    """
    found: dict[str, Any] = {}
    for name, estimate in estimates.items():
        width = float(estimate["high"]) - float(estimate["low"])
        stated = {"width": round(width, 6), "wanted": wanted, "patients": patients}
        if not np.isfinite(width):
            found[name] = {**stated, "reason": estimate.get("reason", "no interval")}
            continue
        needed = math.ceil(round(patients * (width / wanted) ** 2, 6))
        found[name] = {**stated, "patients_needed": needed, "more": max(0, needed - patients)}
    return found
