"""Patients drawn again and again: the ground under every interval.

Units of one patient resemble each other, so patients, not units, are drawn with replacement (the cluster bootstrap;
Field & Welsh 2007, J R Stat Soc B 69:369). A resample is the number of times each patient was drawn; every metric is
then a weighted one, and all resamples are one matrix product.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy.stats import norm

Floats = npt.NDArray[np.float64]

_STREAM = 12  # this module's own stream of the one seed


@dataclass(frozen=True)
class Estimate:
    """A figure and its interval.

    Attributes:
        value: the figure, NaN when undefined.
        low, high: the interval, NaN when it cannot be had.
        n: units behind it.
        reason: why the figure or its interval is NaN; None when both are there.
    """

    value: float
    low: float
    high: float
    n: int
    reason: str | None = None

    def figures(self) -> dict[str, float | str]:
        """As it stands in reports/metrics.json, to six decimals (beyond them is the noise of the hardware)."""
        shown: dict[str, float | str] = {name: round(getattr(self, name), 6) for name in ("value", "low", "high")}
        return shown if self.reason is None else {**shown, "reason": self.reason}


def undefined(reason: str, n: int) -> Estimate:
    """A figure that does not exist here, and why."""
    return Estimate(np.nan, np.nan, np.nan, n, reason)


@dataclass(frozen=True)
class Resamples:
    """B resamples of the P patients behind U units.

    Attributes:
        patient: int64 (U,), the patient of each unit, 0 to P - 1.
        counts: float64 (B, P), how often each patient was drawn.
        confidence: of the intervals, for example 0.95.
    """

    patient: npt.NDArray[np.int64]
    counts: Floats
    confidence: float

    @property
    def patients(self) -> int:
        """P, the number of patients."""
        return int(self.counts.shape[1])

    def per_patient(self, values: npt.NDArray[np.generic]) -> Floats:
        """Sums of (U,) values by patient: (P,)."""
        sums: Floats = np.bincount(self.patient, weights=values.astype(np.float64), minlength=self.patients).astype(
            np.float64, copy=False
        )
        return sums

    def interval(self, drawn: Floats) -> tuple[float, float, str | None]:
        """The percentile interval of (B,) resampled figures, and the reason if there is none.

        Resamples in which the figure is undefined (one class only) are left out; when they are more than half, the
        others say nothing any more.
        """
        defined = drawn[np.isfinite(drawn)]
        if len(defined) < len(drawn) / 2:
            return np.nan, np.nan, "too few patients of a class to resample"
        tail = (1 - self.confidence) / 2
        low, high = np.quantile(defined, [tail, 1 - tail])
        return float(low), float(high), None


def draw(patients: Sequence[str], resamples: int, confidence: float, seed: int) -> Resamples:
    """Draw `resamples` times as many patients as there are, with replacement.

    Args:
        patients: the patient of each unit (U); which draw falls on whom depends on the order of first appearance, not
            on the names.
    """
    position = {patient: place for place, patient in enumerate(dict.fromkeys(patients))}
    index = np.array([position[patient] for patient in patients], dtype=np.int64)
    size = len(position)
    rng = np.random.default_rng([seed, _STREAM])
    counts = rng.multinomial(size, np.full(size, 1 / size), size=resamples) if size else np.zeros((resamples, 0))
    return Resamples(index, counts.astype(np.float64), confidence)


def wilson(hits: float, n: float, confidence: float) -> tuple[float, float]:
    """Wilson's score interval of `hits` in `n` independent trials (Wilson 1927, J Am Stat Assoc 22:209)."""
    z = float(norm.ppf((1 + confidence) / 2))
    share = hits / n
    middle = (share + z * z / (2 * n)) / (1 + z * z / n)
    half = z / (1 + z * z / n) * np.sqrt(share * (1 - share) / n + z * z / (4 * n * n))
    # At 0 and 1 the bound is exactly there; rounding would leave it a hair outside.
    return (0.0 if hits == 0 else float(middle - half)), (1.0 if hits == n else float(middle + half))
