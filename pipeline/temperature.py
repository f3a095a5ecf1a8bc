"""The temperature of logits: cross-entropy of each unit, and what to divide by so that its mean is least."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import numpy.typing as npt
from scipy.optimize import minimize_scalar

Floats = npt.NDArray[np.float64]
#: (U, ...) labels of 0 and 1, and logits, to (U,) losses.
Losses = Callable[[npt.NDArray[np.number], Floats], Floats]


def binary(labels: npt.NDArray[np.number], logits: Floats) -> Floats:
    """Cross-entropy (U,) of a sigmoid over (U,) logits."""
    return np.asarray(np.logaddexp(0.0, np.where(labels == 1, -1.0, 1.0) * logits))


def multiclass(labels: npt.NDArray[np.number], logits: Floats) -> Floats:
    """Cross-entropy (U,) of a softmax over (U, K) logits, with labels of one class each."""
    return np.asarray(np.logaddexp.reduce(logits, axis=1) - (logits * labels).sum(axis=1))


def fit(
    losses: Losses, labels: npt.NDArray[np.number], logits: Floats, bounds: tuple[float, float], precision: float
) -> float:
    """The temperature within `bounds` of the least mean loss (Guo et al. 2017, ICML).

    The loss has one minimum in 1 / T, hence in log T, which is searched to within `precision`.
    """
    low, high = (float(np.log(bound)) for bound in bounds)
    found = minimize_scalar(
        lambda log: float(losses(labels, logits * np.exp(-log)).mean()),
        bounds=(low, high),
        method="bounded",
        options={"xatol": precision},
    )
    return float(np.exp(found.x))
