"""Would it do good to act on the model? Net benefit against treating all and treating none.

Vickers & Elkin (2006, Med Decis Making 26:565): who treats at a probability of t says that a needless treatment weighs
t / (1 - t) of a missed one. Net benefit: true positives minus so much of each false positive, per unit.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from pipeline.clinical.ranking import Labels
from pipeline.clinical.resampling import Floats, Resamples, mean_of, undefined

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
    model, half = resamples.mean(np.where(treated, worth, 0.0))
    return DecisionCurve(thresholds, model, model - half, model + half, worth.mean(axis=0))


def at_threshold(labels: Labels, probabilities: Floats, threshold: float, resamples: Resamples) -> dict[str, Any]:
    """The part of reports/metrics.json under `usefulness`, at the operating threshold."""
    reason = None
    if not 0 < threshold < 1:
        reason = f"at a threshold of {threshold:g} no weight of a needless treatment is stated"
    elif not len(labels) or not np.isfinite(probabilities).all():
        reason = "no unit" if not len(labels) else "a probability is not finite"
    if reason:
        nothing = undefined(reason, len(labels)).figures()
        return {"net_benefit": nothing, "over_treat_all": nothing, "treat_all": float("nan"), "reason": reason}
    odds = threshold / (1 - threshold)
    worth, treated = np.where(labels == 1, 1.0, -odds), probabilities >= threshold
    return {
        "net_benefit": mean_of(np.where(treated, worth, 0.0), resamples).figures(),
        "over_treat_all": mean_of(np.where(treated, 0.0, -worth), resamples).figures(),
        "treat_all": round(float(worth.mean()), 6),
        "treat_none": 0.0,
        "threshold_odds": round(odds, 6),
    }
