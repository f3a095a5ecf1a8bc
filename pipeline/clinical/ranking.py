"""Units sorted once by their scores, and the areas under ROC and precision-recall curves of any resample of them.

With both classes in falling order of their scores, the weights of the units drawn are summed up cumulatively: how many
negatives lie above each positive unit, and how many positives down to it. Both areas are sums over the positive units,
for all resamples of a portion at once, in time proportional to units times resamples and in the memory of one portion.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy.optimize import brentq

from pipeline.clinical import jackknife
from pipeline.clinical.resampling import Floats, Resamples, combined, quantile

Labels = npt.NDArray[np.int64]
Places = npt.NDArray[np.int64]
Weights = npt.NDArray[np.integer]


@dataclass(frozen=True)
class Order:
    """M positive and N negative units in falling order of one score.

    Attributes:
        positive, negative: int64 (M,) and (N,), the units in that order.
        above, reached: int64 (M,), how many negative units score above each positive one, how many at least as much.
        level: int64 (M,), the place of the last positive unit that scores as each does; None where no two score alike.
    """

    positive: Places
    negative: Places
    above: Places
    reached: Places
    level: Places | None

    def areas(self, positive: Weights, negative: Weights) -> tuple[Floats, Floats]:
        """AUROC and average precision, (C,) each, of weighted units; NaN where a class has none.

        AUROC: the chance that a positive unit scores above a negative one, ties counting half. Average precision: the
        mean over the positive units of the precision at their level, as scikit-learn's `average_precision_score`.

        Args:
            positive, negative: whole weights (C, M) and (C, N), in the order of the attributes.
        """
        passed = np.zeros((len(negative), negative.shape[1] + 1), dtype=np.int32)
        np.cumsum(negative, axis=1, dtype=np.int32, out=passed[:, 1:])
        false = passed[:, self.reached]
        half = false if self.above is self.reached else (false + passed[:, self.above]) / 2
        total = passed[:, -1:]
        won = np.einsum("cm,cm->c", positive, total - half, dtype=np.float64)
        true = np.cumsum(positive, axis=1, dtype=np.int32)
        found = positive.sum(axis=1, dtype=np.float64)
        if self.level is not None:
            true = true[:, self.level]
        precise = np.einsum("cm,cm->c", positive, true / np.maximum(true + false, 1), dtype=np.float64)
        possible = found * total[:, 0]
        with np.errstate(divide="ignore", invalid="ignore"):
            return np.where(possible > 0, won / possible, np.nan), np.where(possible > 0, precise / found, np.nan)


def order(labels: Labels, scores: npt.NDArray[np.floating]) -> Order:
    """Sort (U,) units, of which some are positive and some not, by finite (U,) scores."""
    sides = [np.flatnonzero((labels == 1) == side) for side in (True, False)]
    positive, negative = (side[np.argsort(-scores[side], kind="stable")] for side in sides)
    own, other = -scores[positive], -scores[negative]
    above, reached = (np.searchsorted(other, own, side=side) for side in ("left", "right"))
    level = np.searchsorted(own, own, side="right") - 1
    tied = bool((level != np.arange(len(own))).any())
    same = bool((above == reached).all())
    return Order(positive, negative, reached if same else above, reached, level if tied else None)


@dataclass(frozen=True)
class Ranked:
    """Scores of U units against their labels, for K classes, each against the rest; K is 1 where the task is binary.

    Attributes:
        labels: int64 (U, K), 0 or 1.
        scores: float64 (U, K); higher means positive; logits or probabilities.
        resamples: of the patients.
    """

    labels: Labels
    scores: Floats
    resamples: Resamples

    @cached_property
    def undefined(self) -> str | None:
        """Why there is no ranking: a class missing, or a score that is not finite; None where there is one."""
        positives = (self.labels == 1).sum(axis=0)
        if not len(self.labels) or (positives == 0).any() or (positives == len(self.labels)).any():
            return "only one class among the units" if self.labels.shape[1] == 1 else "units of too few classes"
        return None if np.isfinite(self.scores).all() else "a score is not finite"

    @property
    def all_equal(self) -> bool:
        """Whether no class has two different scores, so that nothing is ranked."""
        return bool((self.scores == self.scores[:1]).all())

    @cached_property
    def sides(self) -> list[tuple[int, int]]:
        """Of each class the patients behind its positive units, and those behind its negative ones."""
        positive = self.labels == 1
        return [(self.resamples.behind(own), self.resamples.behind(~own)) for own in positive.T]

    @property
    def scarcest(self) -> int:
        """The fewest patients behind the positive or the negative units of a class."""
        return min(map(min, self.sides))

    @cached_property
    def perfect(self) -> float:
        """The lower end of an area of 1 of these patients, as if each had one unit of a class (mean over classes)."""
        return combined([newcombe(*patients, self.resamples.confidence) for patients in self.sides])

    def clustered(self, area: float) -> float:
        """Newcombe's standard error of an AUROC whose patients have one unit of a class each (mean over classes)."""
        return float(np.linalg.norm([spread(area, *patients) for patients in self.sides])) / len(self.sides)

    def erring(self, sign: int) -> int:
        """Patients with a unit on the wrong side of one of the other label, on the side that has fewer of them.

        Args:
            sign: 1, or -1 for what keeps an area from 0.
        """
        fewest = []
        for labels, scores in columns(self.labels, sign * self.scores):
            positive = labels == 1
            wrong = (positive & (scores <= scores[~positive].max()), ~positive & (scores >= scores[positive].min()))
            fewest.append(min(self.resamples.behind(side) for side in wrong))
        return min(fewest)

    @cached_property
    def areas(self) -> tuple[float, float]:
        """AUROC and average precision of the units as they are, means over the classes."""
        ranks = [order(*column) for column in columns(self.labels, self.scores)]
        each = [own.areas(np.ones_like(own.positive)[None], np.ones_like(own.negative)[None]) for own in ranks]
        auroc, precision = np.mean(each, axis=0)
        return float(auroc[0]), float(precision[0])

    @cached_property
    def without(self) -> Floats:
        """The AUROC without each patient (P,), mean over the classes; NaN where a class would be missing."""
        pairs = columns(self.labels, self.scores)
        each = [jackknife.without_each(own, scores, self.resamples) for own, scores in pairs]
        return np.asarray(np.mean(each, axis=0), dtype=np.float64)

    @cached_property
    def drawn(self) -> tuple[Floats, Floats]:
        """The same of each resample: (B,) AUROC and average precision; NaN where a class was not drawn."""
        total = np.zeros((2, len(self.resamples.counts)))
        for column in columns(self.labels, self.scores):
            ranks = order(*column)
            positive, negative = (self.resamples.patient[side] for side in (ranks.positive, ranks.negative))
            for rows in self.resamples.portions(len(self.labels)):
                counts = self.resamples.counts[rows].astype(np.int32)
                total[:, rows] += ranks.areas(counts[:, positive], counts[:, negative])
        auroc, precision = total / self.labels.shape[1]
        return auroc, precision


def newcombe(positive: int, negative: int, confidence: float) -> float:
    """The lower end of an AUROC of 1 of so many units (Newcombe 2006, Stat Med 25:559, method 5)."""
    steps = quantile(confidence)
    return float(brentq(lambda area: 1 - area - steps * spread(area, positive, negative), 0, 1 - 1e-9))


def spread(area: float, positive: int, negative: int) -> float:
    """The standard error of an AUROC of so many units, where it is `area` (Newcombe, as above)."""
    both = (positive + negative) / 2 - 1
    pairs = 1 + both * ((1 - area) / (2 - area) + area / (1 + area))
    return float(np.sqrt(area * (1 - area) * pairs / (positive * negative)))


def ranked(labels: npt.NDArray[np.number], scores: npt.NDArray[np.floating], resamples: Resamples) -> Ranked:
    """Scores against labels, both (U,) or (U, K)."""
    shape = (len(labels), -1) if labels.size else (len(labels), 1)
    return Ranked(labels.reshape(shape).astype(np.int64), scores.reshape(shape).astype(np.float64), resamples)


def columns(*values: npt.NDArray[Any]) -> list[tuple[npt.NDArray[Any], ...]]:
    """(U,) or (U, K) arrays, side by side, as their K columns (U,)."""
    return list(zip(*(np.reshape(value, (len(value), -1)).T for value in values), strict=True))
