"""Would it do good to act on the model? Net benefit against treating all and treating none.

Vickers & Elkin (2006, Med Decis Making 26:565): who treats at a probability of t says that a needless treatment weighs
t / (1 - t) of a missed one. Net benefit: true positives minus so much of each false positive, per unit.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from pipeline.clinical.ranking import Labels
from pipeline.clinical.resampling import Estimate, Floats, Resamples, undefined

#: At which probabilities the curve is drawn.
GRID = np.round(np.linspace(0.01, 0.99, 99), 2)


@dataclass(frozen=True)
class DecisionCurve:
    """Net benefit at T probability thresholds, all (T,); treating none has 0.

    Attributes:
        thresholds: in (0, 1).
        model, low, high: treating whom the model gives that probability or more, and its interval.
        treat_all: treating everybody.
    """

    thresholds: Floats
    model: Floats
    low: Floats
    high: Floats
    treat_all: Floats


def decision_curve(
    labels: Labels, probabilities: Floats, resamples: Resamples, thresholds: Floats = GRID
) -> DecisionCurve:
    """Of (U,) calibrated probabilities for (U,) labels; empty without finite ones."""
    if not len(labels) or not np.isfinite(probabilities).all():
        return DecisionCurve(*(np.empty(0),) * 5)
    odds = thresholds / (1 - thresholds)
    treated = probabilities[:, None] >= thresholds
    # What each unit adds: 1 if treated rightly, minus the odds if needlessly.
    worth = np.where(labels[:, None] == 1, 1.0, -odds)
    units = np.ones((len(labels), 1))
    drawn = resamples.sums(np.concatenate([treated * worth, units], axis=1))
    tail = (1 - resamples.confidence) / 2
    low, high = np.quantile(drawn[:, :-1] / drawn[:, -1:], [tail, 1 - tail], axis=0)
    return DecisionCurve(thresholds, (treated * worth).mean(axis=0), low, high, worth.mean(axis=0))


def at_threshold(labels: Labels, probabilities: Floats, threshold: float, resamples: Resamples) -> dict[str, Any]:
    """The part of reports/metrics.json under `usefulness`, at the operating threshold."""
    reason = None
    if not 0 < threshold < 1:
        reason = f"at a threshold of {threshold:g} no weight of a needless treatment is stated"
    elif not len(labels) or not np.isfinite(probabilities).all():
        reason = "no unit" if not len(labels) else "a probability is not finite"
    if reason:
        return {"net_benefit": undefined(reason, len(labels)).figures(), "treat_all": float("nan"), "reason": reason}
    curve = decision_curve(labels, probabilities, resamples, np.array([threshold]))
    value, low, high = (float(each[0]) for each in (curve.model, curve.low, curve.high))
    return {
        "net_benefit": Estimate(value, low, high, len(labels), method="cluster bootstrap").figures(),
        "treat_all": round(float(curve.treat_all[0]), 6),
        "treat_none": 0.0,
        "threshold_odds": round(threshold / (1 - threshold), 6),
    }
