"""Which units the report shows: some of each outcome, chosen by rule and not by eye."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from pipeline.clinical.metrics import Labels
from pipeline.clinical.resampling import Floats


@dataclass(frozen=True)
class Outcome:
    """A cell of the confusion matrix, its name for the reader, and how its examples are chosen."""

    actual: int
    called: bool
    name: str
    chosen: str


OUTCOMES = (
    Outcome(1, True, "True positive", "typical: of middling probability among the true positives"),
    Outcome(1, False, "False negative", "the plainest misses: lowest probability among the positives"),
    Outcome(0, True, "False positive", "the plainest false alarms: highest probability among the negatives"),
    Outcome(0, False, "True negative", "typical: of middling probability among the true negatives"),
)


@dataclass(frozen=True)
class Example:
    """One slice of one unit.

    Attributes:
        outcome: the cell of the confusion matrix that its unit is in.
        unit: identifier, as in reports/predictions.csv.
        probability: of the unit.
        image: uint8 (H, W), the slice as the network sees it.
        saliency: float32 (H, W) in 0..1.
    """

    outcome: Outcome
    unit: str
    probability: float
    image: npt.NDArray[np.uint8]
    saliency: npt.NDArray[np.float32]


def choose(labels: Labels, probabilities: Floats, threshold: float, each: int = 2) -> list[tuple[Outcome, int]]:
    """At most `each` units (their positions) of every outcome."""
    order = np.argsort(probabilities, kind="stable")
    called = probabilities >= threshold
    chosen = []
    for outcome in OUTCOMES:
        here = [int(unit) for unit in order if labels[unit] == outcome.actual and called[unit] == outcome.called]
        if outcome.actual == outcome.called:
            start = max(0, (len(here) - each) // 2)
            picked = here[start : start + each]
        else:
            picked = here[::-1][:each] if outcome.called else here[:each]
        chosen += [(outcome, unit) for unit in picked]
    return chosen
