"""Figures on test patients, each with an interval over patients; undefined is NaN with a reason, never 0.

AUROC: DeLong's variance where every patient has one unit, else the jackknife of patients, with one patient's worth of
full clustering in it (Newcombe's variance with patients as units). Average precision: the standard error of the patient
bootstrap. Both by way of the logit, which keeps the interval within 0 and 1 and covers best in `python -m
tests.benchmarks.coverage`; but for DeLong's with Student's t for the patients of the scarcer class. For average
precision Boyd, Eng & Page (2013, ECML PKDD, LNCS 8190:451) recommend it. An area of exactly 1 (or 0) has Newcombe's
interval for as many units as there are patients (`ranking.newcombe`), and one that fewer than `resampling.FEW` patients
keep from it claims no more. Shares: see `proportions`.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from pipeline.clinical import delong, jackknife
from pipeline.clinical.proportions import Calls as Calls
from pipeline.clinical.proportions import share
from pipeline.clinical.ranking import Labels as Labels
from pipeline.clinical.ranking import Ranked, ranked
from pipeline.clinical.resampling import (
    FEW,
    SAME,
    STILL,
    TOO_FEW,
    Estimate,
    Floats,
    Resamples,
    by_logit,
    mean_of,
    quantile,
    undefined,
)

DELONG, JACKKNIFE, BOOTSTRAP = "DeLong, logit", "jackknife of patients, logit", "cluster bootstrap, logit"
NEWCOMBE = "Newcombe, patients as units"
ALL_EQUAL = "all scores are equal: {} by definition, whatever the model knows"


def auroc(labels: Labels, scores: Floats, resamples: Resamples) -> Estimate:
    """Area under the ROC curve: the chance that a positive unit scores above a negative one, ties counting half.

    Args:
        labels: (U,) of 0 and 1; or (U, K), and the figure is the mean over K classes, each against the rest (macro).
        scores: likewise; higher means positive; logits or probabilities.
    """
    return auroc_of(ranked(labels, scores, resamples))


def auroc_of(given: Ranked) -> Estimate:
    """AUROC of what has been sorted already."""
    if given.undefined:
        return undefined(given.undefined, len(given.labels))
    plain = _area(given, given.areas[0], "AUROC is 0.5")
    if plain:
        return plain
    if by_delong(given):
        own = delong.components(given.labels[:, 0], given.scores[:, 0])
        found = _interval(given, given.areas[0], float(np.sqrt(delong.covariance(own, own))), DELONG)
    else:
        found = _interval(given, given.areas[0], _mixed(given, jackknife.error(given.without)), JACKKNIFE)
    return replace(found, high=max(found.high, 1 - given.perfect)) if given.erring(-1) < FEW else found


def _mixed(given: Ranked, observed: float) -> float:
    """A jackknife's standard error with one patient's worth of full clustering in it.

    Near 1 few patients err, and what they vary says little of those to come: as `proportions` has it of shares.
    """
    if not observed > STILL:
        return observed
    whole = given.clustered(given.areas[0])
    known = given.erring(1 if given.areas[0] > 0.5 else -1)
    return float(np.sqrt((known * observed**2 + max(whole, observed) ** 2) / (known + 1)))


def average_precision_of(given: Ranked) -> Estimate:
    """Area under the precision-recall curve as average precision; without knowledge it is the share of positives."""
    if given.undefined:
        return undefined(given.undefined, len(given.labels))
    plain = _area(given, given.areas[1], "average precision is the share of positives")
    return plain or _interval(given, given.areas[1], given.resamples.deviation(given.drawn[1]), BOOTSTRAP)


def by_delong(given: Ranked) -> bool:
    """Whether DeLong's variance holds: one class against one, and every patient one unit."""
    return given.resamples.each_own and given.labels.shape[1] == 1


def _area(given: Ranked, value: float, definition: str) -> Estimate | None:
    """An area whose interval needs no standard error, or that has none; None of any other."""
    n = len(given.labels)
    if given.all_equal:
        return Estimate(value, np.nan, np.nan, n, ALL_EQUAL.format(definition))
    if value in (0.0, 1.0):
        ends = (given.perfect, 1.0) if value else (0.0, 1 - given.perfect)
        return Estimate(value, *ends, n, method=NEWCOMBE)
    return Estimate(value, np.nan, np.nan, n, TOO_FEW) if given.scarcest < 2 else None


def _interval(given: Ranked, value: float, error: float, method: str) -> Estimate:
    """By the logit, with Student's t where the variance is not DeLong's; few errors: no nearer to 1 than of none."""
    n, confidence = len(given.labels), given.resamples.confidence
    if not error > STILL:
        return Estimate(value, np.nan, np.nan, n, TOO_FEW if np.isnan(error) else SAME)
    steps = quantile(confidence, None if method == DELONG else given.scarcest - 1)
    low, high = by_logit(value, error, steps)
    low = min(low, given.perfect) if given.erring(1) < FEW else low
    return Estimate(value, low, high, n, method=method)


def sensitivity(labels: Labels, called: Calls, resamples: Resamples) -> Estimate:
    """Share of the positive units that are called positive.

    Args:
        labels: (U,) of 0 and 1; or (U, K), and the figure is the mean over K classes, each against the rest (macro).
        called: likewise.
    """
    return share(called, labels == 1, "no positive unit", resamples)


def specificity(labels: Labels, called: Calls, resamples: Resamples) -> Estimate:
    """Share of the negative units that are not called positive; arguments as of `sensitivity`."""
    return share(~called, labels == 0, "no negative unit", resamples)


def ppv(labels: Labels, called: Calls, resamples: Resamples) -> Estimate:
    """Positive predictive value at the prevalence of these units: positives among the called; as `sensitivity`."""
    return share(labels == 1, called, "nothing is called positive", resamples)


def npv(labels: Labels, called: Calls, resamples: Resamples) -> Estimate:
    """Negative predictive value at the prevalence of these units; arguments as of `sensitivity`."""
    return share(labels == 0, ~called, "nothing is called negative", resamples)


def brier(labels: Labels, probabilities: Floats, resamples: Resamples) -> Estimate:
    """Mean squared difference of probability and label: 0 is perfect (Brier 1950, Mon Weather Rev 78:1).

    Of several classes, (U, K), it is the mean over these, too, not their sum: as if each were a binary task.
    """
    if not len(labels) or not np.isfinite(probabilities).all():
        return undefined("no unit" if not len(labels) else "a probability is not finite", len(labels))
    errors = ((probabilities - labels) ** 2).reshape(len(labels), -1).mean(axis=1)
    found = mean_of(errors, resamples)
    return replace(found, low=max(found.low, 0.0), high=min(found.high, 1.0)) if found.method else found
