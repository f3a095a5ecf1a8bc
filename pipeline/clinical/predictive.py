"""What an answer of the model means: likelihood ratios, and predictive values at the prevalences of other places."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from pipeline.clinical.proportions import Calls, residuals
from pipeline.clinical.ranking import Labels
from pipeline.clinical.resampling import SAME, STILL, TOO_FEW, Estimate, Resamples, quantile, undefined

LOG = "log ratio"


def likelihood_ratio(labels: Labels, called: Calls, resamples: Resamples, positive: bool) -> Estimate:
    """How many times as often positive units get this answer as negative ones; of a binary task.

    The interval is that of the logarithm (Simel, Samsa & Matchar 1991, J Clin Epidemiol 44:763), whose variance is
    summed up by patient, so that it equals theirs where every patient has one unit; else with Student's t for the
    patients of the scarcer class.

    Args:
        labels: (U,) of 0 and 1.
        called: (U,).
        positive: of a positive answer, sensitivity / (1 - specificity); else of a negative one, (1 - sensitivity) /
            specificity.
    """
    n, answer = len(labels), called if positive else ~called
    sick, well = labels == 1, labels == 0
    if not sick.any() or not well.any():
        return undefined("no positive unit" if not sick.any() else "no negative unit", n)
    among_sick, among_well = float(answer[sick].mean()), float(answer[well].mean())
    word = "positive" if positive else "negative"
    if among_well == 0:
        return undefined(f"no negative unit is called {word}: the ratio has no bound", n)
    ratio = among_sick / among_well
    if among_sick == 0:
        return Estimate(ratio, np.nan, np.nan, n, f"no positive unit is called {word}: no interval")
    influence = residuals(answer & sick, sick, resamples) / among_sick
    influence -= residuals(answer & well, well, resamples) / among_well
    freedom, variance = None, float(np.sum(influence**2))
    if not resamples.each_own:
        scarcer = min(resamples.behind(sick), resamples.behind(well))
        if scarcer < 2:
            return Estimate(ratio, np.nan, np.nan, n, TOO_FEW)
        freedom, variance = scarcer - 1, variance * resamples.patients / (resamples.patients - 1)
    if variance <= STILL**2:
        return Estimate(ratio, np.nan, np.nan, n, SAME)
    half = quantile(resamples.confidence, freedom) * float(np.sqrt(variance))
    low, high = ratio * np.exp([-half, half])
    return Estimate(ratio, float(low), float(high), n, method=LOG if freedom is None else f"{LOG}, by patient")


def at_prevalence(prevalence: float, sensitivity: Estimate, specificity: Estimate, ratios: Sequence[Estimate]) -> Any:
    """Predictive values where so large a share is positive, and what comes of 1,000 units: part of metrics.json.

    By Bayes' rule from the likelihood ratios, and so are the intervals (Mercaldo, Lau & Zhou 2007, Stat Med 26:2170),
    which take the prevalence as known. Where a ratio has no interval, they are by the bounds of sensitivity and
    specificity, which is wider.

    Args:
        prevalence: in (0, 1).
        ratios: of a positive and of a negative answer.
    """
    values = {}
    for name, share, sick, well, ratio in (
        ("ppv", prevalence, sensitivity, _complement(specificity), ratios[0]),
        ("npv", 1 - prevalence, specificity, _complement(sensitivity), _inverse(ratios[1])),
    ):
        method: str | None = "by the likelihood ratio"
        value, low, high = [_bayes(share, odds, 1.0) for odds in (ratio.value, ratio.low, ratio.high)]
        if not np.isfinite([value, low, high]).all():
            method = "by the bounds of sensitivity and specificity"
            value, low, high = [_bayes(share, *pair) for pair in _pairs(sick, well)]
        reason = None if np.isfinite([value, low, high]).all() else sick.reason or well.reason or "nothing is called so"
        if not np.isfinite(value):
            low = high = float("nan")
        method = None if reason else method
        values[name] = Estimate(value, low, high, sick.n, reason, method).figures()
    found, cleared = 1000 * prevalence * sensitivity.value, 1000 * (1 - prevalence) * specificity.value
    counts = {
        "found": found,
        "missed": 1000 * prevalence - found,
        "false_alarms": 1000 * (1 - prevalence) - cleared,
        "cleared": cleared,
    }
    per_1000: dict[str, Any] = {name: round(count, 3) for name, count in counts.items()}
    if not np.isfinite(list(counts.values())).all():
        per_1000["reason"] = sensitivity.reason or specificity.reason
    return {**values, "per_1000": per_1000}


def _pairs(sick: Estimate, well: Estimate) -> list[tuple[float, float]]:
    """The answer's shares among those it is right and wrong on: as found, at the worst and at the best."""
    return [(sick.value, well.value), (sick.low, well.high), (sick.high, well.low)]


def _bayes(share: float, right: float, wrong: float) -> float:
    """The chance of being right, of those that are right with odds of `right` to `wrong` times their share's."""
    of = share * right + (1 - share) * wrong
    return share * right / of if of > 0 else float("nan")


def _complement(given: Estimate) -> Estimate:
    return Estimate(1 - given.value, 1 - given.high, 1 - given.low, given.n, given.reason)


def _inverse(given: Estimate) -> Estimate:
    """A ratio turned over; one of 0 is left undefined."""
    if not given.value or not np.isfinite([given.value, given.low, given.high]).all():
        return undefined(given.reason or "a ratio of 0", given.n)
    return Estimate(1 / given.value, 1 / given.high, 1 / given.low, given.n, given.reason)
