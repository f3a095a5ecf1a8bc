"""Figures on test patients, each with an interval over patients; undefined is NaN with a reason, never 0.

Intervals: percentiles of the patient bootstrap (`resampling`), with two exceptions.
- A proportion in which every patient has one unit: Wilson's interval, as nothing is clustered there.
- A figure of exactly 0 or 1, which every resample repeats: Wilson's interval with as many trials as there are patients
  behind it (for AUROC: patients of the scarcer class), so that a perfect figure of few patients does not look certain.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from pipeline.clinical.resampling import Estimate, Floats, Resamples, undefined, wilson

Labels = npt.NDArray[np.int64]


def auroc(labels: Labels, scores: Floats, resamples: Resamples) -> Estimate:
    """Area under the ROC curve: the chance that a positive unit scores above a negative one, ties counting half.

    Args:
        labels: (U,), 0 or 1.
        scores: (U,), higher means positive; logits or probabilities.
    """
    reason = _auroc_undefined(labels, scores)
    if reason:
        return undefined(reason, len(labels))
    pairs = concordance(labels, scores, resamples)
    value = float(auroc_under(pairs, labels, resamples, np.ones((1, resamples.patients)))[0])
    if value in (0.0, 1.0):
        scarce = min(int(np.count_nonzero(resamples.per_patient(labels == c))) for c in (0, 1))
        return Estimate(value, *wilson(value * scarce, scarce, resamples.confidence), len(labels))
    low, high, reason = resamples.interval(auroc_under(pairs, labels, resamples, resamples.counts))
    return Estimate(value, low, high, len(labels), reason)


def auroc_difference(labels: Labels, scores: Floats, other: Floats, resamples: Resamples) -> Estimate:
    """AUROC of `scores` minus that of `other` on the same units; paired: both meet the same resamples."""
    reason = _auroc_undefined(labels, scores) or _auroc_undefined(labels, other)
    if reason:
        return undefined(reason, len(labels))
    pairs = concordance(labels, scores, resamples) - concordance(labels, other, resamples)
    value = float(auroc_under(pairs, labels, resamples, np.ones((1, resamples.patients)))[0])
    low, high, reason = resamples.interval(auroc_under(pairs, labels, resamples, resamples.counts))
    return Estimate(value, low, high, len(labels), reason)


def sensitivity(labels: Labels, probabilities: Floats, threshold: float, resamples: Resamples) -> Estimate:
    """Share of the positive units whose probability (U,) reaches the threshold."""
    if not np.isfinite(probabilities).all():
        return undefined("a probability is not finite", len(labels))
    return _proportion(probabilities >= threshold, labels == 1, "no positive unit", resamples)


def specificity(labels: Labels, probabilities: Floats, threshold: float, resamples: Resamples) -> Estimate:
    """Share of the negative units whose probability (U,) stays below the threshold."""
    if not np.isfinite(probabilities).all():
        return undefined("a probability is not finite", len(labels))
    return _proportion(probabilities < threshold, labels == 0, "no negative unit", resamples)


def brier(labels: Labels, probabilities: Floats, resamples: Resamples) -> Estimate:
    """Mean squared difference of probability and label: 0 is perfect (Brier 1950, Mon Weather Rev 78:1)."""
    if not len(labels) or not np.isfinite(probabilities).all():
        return undefined("no unit" if not len(labels) else "a probability is not finite", len(labels))
    errors = resamples.per_patient((probabilities - labels) ** 2)
    units = resamples.per_patient(np.ones(len(labels)))
    low, high, reason = resamples.interval(resamples.counts @ errors / (resamples.counts @ units))
    return Estimate(float(errors.sum() / units.sum()), low, high, len(labels), reason)


def concordance(labels: Labels, scores: Floats, resamples: Resamples) -> Floats:
    """(P, P): pairs of a positive unit of patient p and a negative of q in which p's scores higher, ties half.

    AUROC under weights w of the patients is w M w over w N w, N counting all such pairs, so that thousands of
    resamples are one product, and no score is sorted twice.
    """
    _, level = np.unique(scores, return_inverse=True)
    negative = np.zeros((level.max() + 1, resamples.patients))
    np.add.at(negative, (level[labels == 0], resamples.patient[labels == 0]), 1.0)
    below = np.cumsum(negative, axis=0) - negative / 2
    pairs = np.zeros((resamples.patients, resamples.patients))
    np.add.at(pairs, resamples.patient[labels == 1], below[level[labels == 1]])
    return pairs


def auroc_under(pairs: Floats, labels: Labels, resamples: Resamples, counts: Floats) -> Floats:
    """(B,) AUROC under each row of `counts` (B, P); NaN where a class was not drawn."""
    won = np.einsum("bp,bp->b", counts @ pairs, counts)
    possible = (counts @ resamples.per_patient(labels == 1)) * (counts @ resamples.per_patient(labels == 0))
    areas: Floats = np.divide(won, possible, out=np.full(len(won), np.nan), where=possible > 0)
    return areas


def _auroc_undefined(labels: Labels, scores: Floats) -> str | None:
    if not (labels == 1).any() or not (labels == 0).any():
        return "only one class among the units"
    return None if np.isfinite(scores).all() else "a score is not finite"


def _proportion(
    hits: npt.NDArray[np.bool_], among: npt.NDArray[np.bool_], reason: str, resamples: Resamples
) -> Estimate:
    """Share of `hits` among the units of `among`, both (U,)."""
    n = int(among.sum())
    if n == 0:
        return undefined(reason, 0)
    of, hit = resamples.per_patient(among), resamples.per_patient(among & hits)
    value = float(hit.sum() / n)
    patients = int(np.count_nonzero(of))
    if patients == n or value in (0.0, 1.0):
        return Estimate(value, *wilson(value * patients, patients, resamples.confidence), n)
    drawn = resamples.counts @ of
    shares = np.divide(resamples.counts @ hit, drawn, out=np.full(len(drawn), np.nan), where=drawn > 0)
    low, high, no_interval = resamples.interval(shares)
    return Estimate(value, low, high, n, no_interval)
