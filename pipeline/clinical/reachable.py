"""What a model without an error would show on these test patients: intervals of few patients stay wide."""

from __future__ import annotations

from typing import Any

import numpy as np

from pipeline.clinical import metrics
from pipeline.clinical.metrics import Labels
from pipeline.clinical.resampling import Estimate, Resamples


def best(labels: Labels, resamples: Resamples) -> dict[str, Any]:
    """The highest lower ends of sensitivity and specificity, under the names that they have in reports/metrics.json.

    They are those of no error, or of one: the interval of a figure of exactly 1 is made in another way, and where
    patients have many units it may be the wider one. There is none of AUROC, whose interval shrinks to nothing near 1.

    Args:
        labels: (U, K) of 0 and 1, of the test units.
        resamples: of their patients.
    """
    point = {}
    for name, measure, of in (("sensitivity", metrics.sensitivity, 1), ("specificity", metrics.specificity, 0)):
        right = labels == 1
        tries: list[Estimate] = [measure(labels, right, resamples)]
        among = np.argwhere(labels == of)
        if len(among) > 1:
            called = right.copy()
            called[tuple(among[0])] ^= True
            tries.append(measure(labels, called, resamples))
        point[name] = {"low": max((estimate.figures()["low"] for estimate in tries), default=np.nan)}
    return {"operating_point": point}
