"""Figures on test patients, each with an interval over patients; undefined is NaN with a reason, never 0.

Intervals: percentiles of the patient bootstrap (`resampling`), with two exceptions.
- A proportion in which every patient has one unit: Wilson's interval, as nothing is clustered there.
- A figure of exactly 0 or 1, which every resample repeats: Wilson's interval with as many trials as there are patients
  behind it (for AUROC: patients of the scarcer class), so that a perfect figure of few patients does not look certain.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from pipeline.clinical.resampling import Estimate, Floats, Resamples, undefined, wilson

Labels = npt.NDArray[np.int64]
Calls = npt.NDArray[np.bool_]


def auroc(labels: Labels, scores: Floats, resamples: Resamples) -> Estimate:
    """Area under the ROC curve: the chance that a positive unit scores above a negative one, ties counting half.

    Args:
        labels: (U,) of 0 and 1; or (U, K), and the figure is the mean over K classes, each against the rest (macro).
        scores: likewise; higher means positive; logits or probabilities.
    """
    reason = _auroc_undefined(labels, scores)
    if reason:
        return undefined(reason, len(labels))
    pairs = [(concordance(own, given, resamples), own) for own, given in _by_class(labels, scores)]
    value = float(_mean_of_areas(pairs, resamples, np.ones((1, resamples.patients)))[0])
    if value in (0.0, 1.0):
        sides = [own == c for _, own in pairs for c in (0, 1)]
        scarce = min(int(np.count_nonzero(resamples.per_patient(side))) for side in sides)
        return Estimate(value, *wilson(value * scarce, scarce, resamples.confidence), len(labels))
    low, high, reason = resamples.interval(_mean_of_areas(pairs, resamples, resamples.counts))
    return Estimate(value, low, high, len(labels), reason)


def auroc_difference(labels: Labels, scores: Floats, other: Floats, resamples: Resamples) -> Estimate:
    """AUROC of `scores` minus that of `other` on the same units; paired: both meet the same resamples."""
    reason = _auroc_undefined(labels, scores) or _auroc_undefined(labels, other)
    if reason:
        return undefined(reason, len(labels))
    pairs = [
        (concordance(own, one, resamples) - concordance(own, two, resamples), own)
        for (own, one), (_, two) in zip(_by_class(labels, scores), _by_class(labels, other), strict=True)
    ]
    value = float(_mean_of_areas(pairs, resamples, np.ones((1, resamples.patients)))[0])
    low, high, reason = resamples.interval(_mean_of_areas(pairs, resamples, resamples.counts))
    return Estimate(value, low, high, len(labels), reason)


def areas(labels: Labels, scores: Floats, resamples: Resamples) -> Floats:
    """(B,) resampled AUROC of (U,) or (U, K) scores, as of `auroc`; NaN where it is undefined."""
    if _auroc_undefined(labels, scores):
        return np.full(len(resamples.counts), np.nan)
    pairs = [(concordance(own, given, resamples), own) for own, given in _by_class(labels, scores)]
    return _mean_of_areas(pairs, resamples, resamples.counts)


def sensitivity(labels: Labels, called: Calls, resamples: Resamples) -> Estimate:
    """Share of the positive units that are called positive.

    Args:
        labels: (U,) of 0 and 1; or (U, K), and the figure is the mean over K classes, each against the rest (macro).
        called: likewise.
    """
    return _proportion(called, labels == 1, "no positive unit", resamples)


def specificity(labels: Labels, called: Calls, resamples: Resamples) -> Estimate:
    """Share of the negative units that are not called positive; arguments as of `sensitivity`."""
    return _proportion(~called, labels == 0, "no negative unit", resamples)


def brier(labels: Labels, probabilities: Floats, resamples: Resamples) -> Estimate:
    """Mean squared difference of probability and label: 0 is perfect (Brier 1950, Mon Weather Rev 78:1).

    Of several classes, (U, K), it is the mean over these, too, not their sum: as if each were a binary task.
    """
    if not len(labels) or not np.isfinite(probabilities).all():
        return undefined("no unit" if not len(labels) else "a probability is not finite", len(labels))
    errors = resamples.per_patient(((probabilities - labels) ** 2).reshape(len(labels), -1).mean(axis=1))
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


def _by_class(*values: npt.NDArray[Any]) -> list[tuple[npt.NDArray[Any], ...]]:
    """(U,) or (U, K) arrays, side by side, as their K columns (U,)."""
    return list(zip(*(np.reshape(value, (len(value), -1)).T for value in values), strict=True))


def _mean_of_areas(pairs: Sequence[tuple[Floats, Labels]], resamples: Resamples, counts: Floats) -> Floats:
    """(B,) mean over the classes of their AUROC; NaN where one was not drawn."""
    return np.asarray(np.mean([auroc_under(each, own, resamples, counts) for each, own in pairs], axis=0))


def auroc_under(pairs: Floats, labels: Labels, resamples: Resamples, counts: Floats) -> Floats:
    """(B,) AUROC under each row of `counts` (B, P); NaN where a class was not drawn."""
    won = np.einsum("bp,bp->b", counts @ pairs, counts)
    possible = (counts @ resamples.per_patient(labels == 1)) * (counts @ resamples.per_patient(labels == 0))
    areas: Floats = np.divide(won, possible, out=np.full(len(won), np.nan), where=possible > 0)
    return areas


def _auroc_undefined(labels: Labels, scores: Floats) -> str | None:
    for (own,) in _by_class(labels):
        if not (own == 1).any() or not (own == 0).any():
            return "only one class among the units" if labels.size == len(labels) else "units of too few classes"
    return None if np.isfinite(scores).all() else "a score is not finite"


def _proportion(hits: Calls, among: Calls, reason: str, resamples: Resamples) -> Estimate:
    """Share of `hits` among the units of `among`, both (U,); of (U, K) the mean of the K shares."""
    of, hit = [], []
    for right, own in _by_class(hits, among):
        if not own.any():
            return undefined(reason, 0)
        of.append(resamples.per_patient(own))
        hit.append(resamples.per_patient(own & right))
    n = int(among.any(axis=1).sum()) if among.ndim > 1 else int(among.sum())
    value = float(np.mean([right.sum() / own.sum() for right, own in zip(hit, of, strict=True)]))
    patients = min(int(np.count_nonzero(own)) for own in of)
    if (len(of) == 1 and patients == n) or value in (0.0, 1.0):
        return Estimate(value, *wilson(value * patients, patients, resamples.confidence), n)
    shares = []
    for right, own in zip(hit, of, strict=True):
        drawn = resamples.counts @ own
        shares.append(np.divide(resamples.counts @ right, drawn, out=np.full(len(drawn), np.nan), where=drawn > 0))
    low, high, no_interval = resamples.interval(np.mean(shares, axis=0))
    return Estimate(value, low, high, n, no_interval)
