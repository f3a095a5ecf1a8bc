"""Which units the report shows: some of each outcome, chosen by rule and not by eye."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from pipeline.clinical.metrics import Calls, Labels
from pipeline.clinical.resampling import Floats
from pipeline.targets import Targets


@dataclass(frozen=True)
class Outcome:
    """A cell of the confusion matrix of a class (its place), its name for the reader, and how examples are chosen.

    `actual` and `called` are None for the borderline, which may be of either kind.
    """

    actual: int | None
    called: bool | None
    name: str
    chosen: str
    place: int = 0


OUTCOMES = (
    Outcome(1, True, "True positive", "typical: of middling probability among the true positives"),
    Outcome(1, False, "False negative", "the plainest misses: lowest probability among the positives"),
    Outcome(0, True, "False positive", "the plainest false alarms: highest probability among the negatives"),
    Outcome(0, False, "True negative", "typical: of middling probability among the true negatives"),
)
BORDERLINE = Outcome(None, None, "Borderline", "nearest to the threshold, where a little changes the answer")


def outcomes(targets: Targets) -> tuple[Outcome, ...]:
    """Those of which examples are shown: of several classes, what each was called for, rightly or not."""
    if targets.kind == "binary":
        return (*OUTCOMES, BORDERLINE)
    typical = "typical: of middling probability among the units rightly called so"
    plainest = "the plainest errors: highest probability among the units wrongly called so"
    return tuple(
        outcome
        for place, name in enumerate(targets.named)
        for outcome in (
            Outcome(1, True, f"{name}, rightly called", typical, place),
            Outcome(0, True, f"{name}, wrongly called", plainest, place),
        )
    )


@dataclass(frozen=True)
class Example:
    """One slice of one unit.

    Attributes:
        outcome: the cell of the confusion matrix that its unit is in, or the borderline.
        unit: identifier, as in reports/predictions.csv.
        actual: whether the unit is of the outcome's class.
        probability: of the outcome's class.
        image: uint8 (H, W), the slice as the network sees it.
        saliency: float32 (H, W) in 0..1.
    """

    outcome: Outcome
    unit: str
    actual: bool
    probability: float
    image: npt.NDArray[np.uint8]
    saliency: npt.NDArray[np.float32]


def choose(
    targets: Targets,
    labels: Labels,
    probabilities: Floats,
    called: Calls,
    threshold: float | Sequence[float] | None,
    each: int = 2,
) -> list[tuple[Outcome, int]]:
    """At most `each` units (their positions) of every outcome, from (U, K) labels, probabilities and calls.

    The borderline of a binary task are those nearest to its threshold, whatever other outcome they stand in, too.
    """
    chosen = []
    for outcome in outcomes(targets):
        own = probabilities[:, outcome.place]
        if outcome is BORDERLINE:
            if isinstance(threshold, (int, float)):
                nearest = np.argsort(np.abs(own - threshold), kind="stable")[:each]
                chosen += [(outcome, int(unit)) for unit in nearest if np.isfinite(own[unit])]
            continue
        there = (labels[:, outcome.place] == outcome.actual) & (called[:, outcome.place] == outcome.called)
        here = [int(unit) for unit in np.argsort(own, kind="stable") if there[unit]]
        if outcome.actual == outcome.called:
            start = max(0, (len(here) - each) // 2)
            picked = here[start : start + each]
        else:
            picked = here[::-1][:each] if outcome.called else here[:each]
        chosen += [(outcome, unit) for unit in picked]
    return chosen
