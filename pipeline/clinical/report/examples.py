"""Which units the report shows: some of each outcome, chosen by rule and not by eye."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from pipeline.clinical.evaluation import Evaluation
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
#: What makes a unit borderline where there are several classes.
_CLOSE = {
    "multiclass": "the two most probable classes are nearest to each other, so that a little changes the answer",
    "multilabel": "nearest to the threshold of a class, where a little changes the answer",
}


def outcomes(targets: Targets) -> tuple[Outcome, ...]:
    """Those of which examples are shown.

    Of several classes those of each that were called so, those that were not, and, where a unit may be of many, those
    that were wrongly called so; where it is of one, such a unit is a miss of its own class.
    """
    if targets.kind == "binary":
        return (*OUTCOMES, BORDERLINE)
    chosen = [
        (1, True, "rightly called", "typical: of middling probability among the units rightly called so"),
        (1, False, "missed", "the plainest misses: lowest probability among the units of this class"),
        (0, True, "wrongly called", "the plainest false alarms: highest probability among the units of no such class"),
    ]
    each = chosen if targets.kind == "multilabel" else chosen[:2]
    of_classes = [
        Outcome(actual, called, f"{name}, {how}", why, place)
        for place, name in enumerate(targets.named)
        for actual, called, how, why in each
    ]
    return (*of_classes, replace(BORDERLINE, chosen=_CLOSE[targets.kind]))


@dataclass(frozen=True)
class Example:
    """One slice of one unit.

    Attributes:
        outcome: the cell of the confusion matrix that its unit is in, or the borderline.
        unit: identifier, as in reports/predictions.csv.
        truth: what the unit is, in words, and what it was called where that is not the outcome.
        probability: of the outcome's class.
        image: uint8 (H, W), the slice as the network sees it.
        saliency: float32 (H, W) in 0..1.
    """

    outcome: Outcome
    unit: str
    truth: str
    probability: float
    image: npt.NDArray[np.uint8]
    saliency: npt.NDArray[np.float32]


def example(
    found: Evaluation, outcome: Outcome, unit: int, image: npt.NDArray[np.uint8], heat: npt.NDArray[np.float32]
) -> Example:
    """The unit at a place of the test units as an example of an outcome."""
    actual, called = found.units.labels[unit] == 1, found.called[unit]
    if found.targets.kind == "binary":
        truth = "positive" if actual[0] else "negative"
    else:
        truth = f"is {_named(found.targets, actual)}, called {_named(found.targets, called)}"
    probability = float(found.probabilities[unit, outcome.place])
    return Example(outcome, found.units.ids[unit], truth, probability, image, heat)


def _named(targets: Targets, classes: npt.NDArray[np.bool_]) -> str:
    return " and ".join(name for name, own in zip(targets.named, classes, strict=True) if own) or "none of them"


def choose(
    targets: Targets,
    labels: Labels,
    probabilities: Floats,
    called: Calls,
    threshold: float | Sequence[float] | None,
    each: int = 2,
) -> list[tuple[Outcome, int]]:
    """At most `each` units (their positions) of every outcome, from (U, K) labels, probabilities and calls.

    The borderline are those nearest to the decision, whatever other outcome they stand in, too: to a threshold, or,
    where the most probable class is called, to the runner-up. Their outcome's place is the class in question.
    """
    chosen = []
    for outcome in outcomes(targets):
        if outcome.actual is None:
            chosen += _borderline(outcome, _distances(targets, probabilities, threshold), each)
            continue
        own = probabilities[:, outcome.place]
        there = (labels[:, outcome.place] == outcome.actual) & (called[:, outcome.place] == outcome.called)
        here = [int(unit) for unit in np.argsort(own, kind="stable") if there[unit]]
        if outcome.actual == outcome.called:
            start = max(0, (len(here) - each) // 2)
            picked = here[start : start + each]
        else:
            picked = here[::-1][:each] if outcome.called else here[:each]
        chosen += [(outcome, unit) for unit in picked]
    return chosen


def _distances(targets: Targets, probabilities: Floats, threshold: float | Sequence[float] | None) -> Floats:
    """How far each probability is from changing the decision, (U, K); infinite where there is none or it is unknown."""
    if targets.kind == "multiclass":
        best = probabilities.argmax(axis=1)[:, None] == np.arange(probabilities.shape[1])
        second = np.where(best, -np.inf, probabilities).max(axis=1, keepdims=True)
        far = np.where(best, probabilities - second, np.inf)
    elif threshold is None:
        far = np.full(probabilities.shape, np.inf)
    else:
        far = np.abs(probabilities - np.asarray(threshold, dtype=np.float64))
    return np.where(np.isfinite(probabilities), far, np.inf)


def _borderline(outcome: Outcome, distances: Floats, each: int) -> list[tuple[Outcome, int]]:
    """The units of the shortest distance of any class, and that class as the outcome's place."""
    if not distances.size:
        return []
    shortest, places = distances.min(axis=1), distances.argmin(axis=1)
    nearest = [int(unit) for unit in np.argsort(shortest, kind="stable")[:each] if np.isfinite(shortest[unit])]
    return [(replace(outcome, place=int(places[unit])), unit) for unit in nearest]
