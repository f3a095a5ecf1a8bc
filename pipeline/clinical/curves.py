"""Curves behind the plots: ROC, precision and recall, reliability and confusion."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import numpy.typing as npt
from sklearn.metrics import precision_recall_curve

from pipeline.clinical.proportions import share
from pipeline.clinical.ranking import Labels
from pipeline.clinical.resampling import Floats, Resamples


@dataclass(frozen=True)
class Roc:
    """The corners of a ROC curve, from (0, 0) to (1, 1); empty when a class is missing."""

    false_positive_rate: Floats
    true_positive_rate: Floats

    def at(self, false_positive_rates: Floats) -> Floats:
        """The true positive rate at each of these false positive rates, the top of a jump; NaN if there is no curve."""
        if not len(self.false_positive_rate):
            return np.full(len(false_positive_rates), np.nan)
        return np.asarray(np.interp(false_positive_rates, self.false_positive_rate, self.true_positive_rate))


def roc(labels: Labels, scores: Floats) -> Roc:
    """The ROC curve of (U,) scores, one corner for each distinct score."""
    if not (labels == 1).any() or not (labels == 0).any() or not np.isfinite(scores).all():
        return Roc(np.empty(0), np.empty(0))
    levels = np.unique(scores)[::-1]
    rates = []
    for of_class in (0, 1):
        own = np.sort(scores[labels == of_class])
        reached = (len(own) - np.searchsorted(own, levels, side="left")) / len(own)
        rates.append(np.concatenate([[0.0], reached]))
    return Roc(*rates)


def mean_roc(curves: Sequence[Roc]) -> Roc:
    """The mean true positive rate of several curves at each false positive rate; its area is the mean of theirs.

    Where some curve jumps the mean does, so that every rate stands twice: below the jumps, and on top of them.
    """
    if len(curves) == 1 or not all(len(curve.false_positive_rate) for curve in curves):
        return curves[0] if len(curves) == 1 else Roc(np.empty(0), np.empty(0))
    rates = np.unique(np.concatenate([curve.false_positive_rate for curve in curves]))
    places = np.stack([rates - 1e-9, rates], axis=1).ravel()
    return Roc(np.repeat(rates, 2), np.asarray(np.mean([curve.at(places) for curve in curves], axis=0)))


def precision_at(labels: Labels, scores: Floats, recalls: Floats) -> Floats:
    """The precision of (U,) scores at the highest threshold that reaches each of these recalls; NaN without a curve."""
    if not (labels == 1).any() or not (labels == 0).any() or not np.isfinite(scores).all():
        return np.full(len(recalls), np.nan)
    precision, recall, _ = precision_recall_curve(labels, scores)
    # It runs from the lowest threshold up; its last corner, of no unit at all, belongs to none.
    precision, recall = precision[-2::-1], recall[-2::-1]
    places = np.searchsorted(recall, recalls - 1e-12)
    return np.asarray(precision[np.minimum(places, len(recall) - 1)])


@dataclass(frozen=True)
class Bin:
    """Units of neighbouring probability: the mean of it, the share that is positive with its interval, and n."""

    predicted: float
    observed: float
    low: float
    high: float
    n: int


def groups_of(values: Floats, bins: int) -> list[npt.NDArray[np.int64]]:
    """Places of (U,) values in at most `bins` groups of about equal count, in rising order; equal values stay together.

    Where there are no more than `bins` different values each is a group.
    """
    places = np.argsort(values, kind="stable")
    rising = values[places]
    ends = np.flatnonzero(np.append(rising[1:] != rising[:-1], True)) + 1 if len(rising) else np.empty(0, dtype=int)
    if len(ends) > bins:
        wanted = np.linspace(0, len(places), bins + 1).astype(int)[1:]
        ends = np.unique(ends[np.searchsorted(ends, wanted)])
    return [places[start:stop] for start, stop in pairwise([0, *ends.tolist()])]


def reliability(labels: Labels, probabilities: Floats, resamples: Resamples, bins: int = 8) -> list[Bin]:
    """At most `bins` bins of equal count, fewer where they would hold less than 5 units; empty without finite input.

    The interval of each is that of a share of units by patients (`proportions`): together they are the band.
    """
    if not len(labels) or not np.isfinite(probabilities).all():
        return []
    found = []
    for here in groups_of(probabilities, max(1, min(bins, len(labels) // 5))):
        own = np.zeros(len(labels), dtype=bool)
        own[here] = True
        observed = share(labels == 1, own, "no unit", resamples)
        predicted = float(probabilities[here].mean())
        found.append(Bin(predicted, observed.value, observed.low, observed.high, len(here)))
    return found


@dataclass(frozen=True)
class Confusion:
    """Counts of units by what they are and what they are called, of one class."""

    true_positive: int
    false_negative: int
    false_positive: int
    true_negative: int


def confusion(labels: Labels, positive: npt.NDArray[np.bool_]) -> Confusion:
    """Counts from (U,) labels and calls."""
    actual = labels == 1
    return Confusion(
        true_positive=int(np.sum(actual & positive)),
        false_negative=int(np.sum(actual & ~positive)),
        false_positive=int(np.sum(~actual & positive)),
        true_negative=int(np.sum(~actual & ~positive)),
    )
