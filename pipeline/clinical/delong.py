"""The variance of AUROC, and the covariance of two on the same units, without resampling.

DeLong, DeLong & Clarke-Pearson (1988, Biometrics 44:837), by midranks in O(U log U) (Sun & Xu 2014, IEEE Signal
Processing Letters 21:1389). It takes units as independent: where a patient has several, `ranking` draws patients.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy.stats import rankdata

from pipeline.clinical.resampling import Floats


@dataclass(frozen=True)
class Components:
    """The structural components of one AUROC.

    Attributes:
        positive: float64 (M,), of each positive unit the share of the negative ones that score below it, ties half.
        negative: float64 (N,), of each negative unit the share of the positive ones that score above it, ties half.
    """

    positive: Floats
    negative: Floats

    @property
    def auroc(self) -> float:
        """Either mean."""
        return float(self.positive.mean())


def components(labels: npt.NDArray[np.integer], scores: npt.NDArray[np.floating]) -> Components:
    """Those of (U,) scores for (U,) labels of 0 and 1; both classes must be there."""
    positive, negative = scores[labels == 1], scores[labels == 0]
    among_all = rankdata(np.concatenate([positive, negative]))
    m, n = len(positive), len(negative)
    return Components((among_all[:m] - rankdata(positive)) / n, 1 - (among_all[m:] - rankdata(negative)) / m)


def covariance(one: Components, other: Components) -> float:
    """Of two AUROCs on the same units in the same order; of one with itself its variance; NaN below two of a class."""
    m, n = len(one.positive), len(one.negative)
    if min(m, n) < 2:
        return float("nan")
    first = np.sum((one.positive - one.positive.mean()) * (other.positive - other.positive.mean())) / (m - 1)
    second = np.sum((one.negative - one.negative.mean()) * (other.negative - other.negative.mean())) / (n - 1)
    return float(first / m + second / n)


def difference_error(one: Components, other: Components) -> float:
    """The standard error of the difference of two AUROCs on the same units; at least 0 whatever the rounding."""
    return float(np.sqrt(max(0.0, covariance(one, one) + covariance(other, other) - 2 * covariance(one, other))))
