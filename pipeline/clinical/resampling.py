"""Patients drawn again and again: the ground under intervals that no formula gives.

Units of one patient resemble each other, so patients, not units, are drawn with replacement (the cluster bootstrap;
Field & Welsh 2007, J R Stat Soc B 69:369). A resample is the number of times each patient was drawn; every metric is
then a weighted one. Thousands of resamples of thousands of patients are gone through in portions that fit a cache.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import numpy.typing as npt
from scipy.stats import norm, t

Floats = npt.NDArray[np.float64]

_STREAM = 12  # this module's own stream of the one seed
_CELLS = 1 << 20  # of a portion: more would not stay in a processor's cache
#: Errors of fewer patients say too little about how they vary between patients: with 1 or 2, a figure may claim no more
#: than the same patients show without an error; else it would look more certain than that.
FEW = 3
#: Why an interval is missing where a class has one patient, or none in most resamples.
TOO_FEW = "too few patients of a class to resample"
ONE_PATIENT = "all these units are of one patient"
#: A standard error of no more than rounding is no proof of certainty, and why there is then no interval.
STILL, SAME = 1e-12, "it does not vary between the patients: how certain it is cannot be said"


@dataclass(frozen=True)
class Estimate:
    """A figure and its interval.

    Attributes:
        value: the figure, NaN when undefined.
        low, high: the interval, NaN when it cannot be had.
        n: units behind it.
        reason: why the figure or its interval is NaN; None when both are there.
        method: how the interval was made; None where there is none or it goes without saying.
    """

    value: float
    low: float
    high: float
    n: int
    reason: str | None = None
    method: str | None = None

    def figures(self) -> dict[str, float | str]:
        """As it stands in reports/metrics.json, to six decimals (beyond them is the noise of the hardware)."""
        shown: dict[str, float | str] = {name: round(getattr(self, name), 6) for name in ("value", "low", "high")}
        said = {"method": self.method, "reason": self.reason}
        return shown | {name: text for name, text in said.items() if text is not None}


def undefined(reason: str, n: int) -> Estimate:
    """A figure that does not exist here, and why."""
    return Estimate(np.nan, np.nan, np.nan, n, reason)


@dataclass(frozen=True)
class Resamples:
    """B resamples of the P patients behind U units.

    Attributes:
        patient: int64 (U,), the patient of each unit, 0 to P - 1.
        counts: integers (B, P), how often each patient was drawn.
        confidence: of the intervals, for example 0.95.
    """

    patient: npt.NDArray[np.int64]
    counts: npt.NDArray[np.number]
    confidence: float

    @property
    def patients(self) -> int:
        """P, the number of patients."""
        return int(self.counts.shape[1])

    @cached_property
    def each_own(self) -> bool:
        """Whether every patient has one unit, so that nothing is clustered."""
        return len(self.patient) == self.patients

    def per_patient(self, values: npt.NDArray[np.generic]) -> Floats:
        """Sums of (U,) values by patient: (P,)."""
        sums = np.bincount(self.patient, weights=values.astype(np.float64), minlength=self.patients)
        return np.asarray(sums, dtype=np.float64)

    def behind(self, units: npt.NDArray[np.bool_]) -> int:
        """How many patients have any of the units of a (U,) mask."""
        return int(np.count_nonzero(self.per_patient(units)))

    def portions(self, width: int) -> Iterator[slice]:
        """Rows of `counts`, as many at a time as a computation of `width` cells a row does well with."""
        step = max(1, _CELLS // max(1, width))
        for start in range(0, len(self.counts), step):
            yield slice(start, min(start + step, len(self.counts)))

    def sums(self, values: npt.NDArray[np.generic]) -> Floats:
        """Sums of (U, M) values over the units of each resample: (B, M)."""
        columns = np.stack([self.per_patient(column) for column in values.T], axis=1)
        found = np.empty((len(self.counts), columns.shape[1]))
        for rows in self.portions(self.patients):
            found[rows] = self.counts[rows].astype(np.float64) @ columns
        return found

    def mean(self, values: Floats) -> tuple[Floats, Floats]:
        """The means of (U, M) values and half their intervals, (M,) each; these are NaN of fewer than two patients.

        Student's t times the standard error of a ratio of two sums over patients (Cochran 1977, Sampling Techniques,
        3rd ed., section 6.5).
        """
        means, count = values.mean(axis=0), self.patients
        if count < 2:
            return means, np.full(len(means), np.nan)
        units = np.bincount(self.patient, minlength=count)
        sums = np.reshape([self.per_patient(column) for column in values.T], (len(means), count)).T
        parts = sums - units[:, None] * means
        error = np.sqrt(np.sum(parts**2, axis=0) * count / (count - 1)) / len(values)
        return means, quantile(self.confidence, count - 1) * error

    def interval(self, drawn: Floats) -> tuple[float, float, str | None]:
        """The percentile interval of (B,) resampled figures, and the reason if there is none.

        Resamples in which the figure is undefined (one class only) are left out; when they are more than half, the
        others say nothing any more. Neither do resamples of one patient, or such as all say the same.
        """
        defined = drawn[np.isfinite(drawn)]
        if self.patients < 2 or len(defined) < len(drawn) / 2:
            return np.nan, np.nan, TOO_FEW
        tail = (1 - self.confidence) / 2
        low, high = np.quantile(defined, [tail, 1 - tail])
        return (float(low), float(high), None) if high - low > STILL else (np.nan, np.nan, SAME)

    def deviation(self, drawn: Floats) -> float:
        """The standard error by (B,) resampled figures; NaN when most are undefined."""
        defined = drawn[np.isfinite(drawn)]
        return float(defined.std(ddof=1)) if len(defined) >= max(2, len(drawn) / 2) else float("nan")


def draw(patients: Sequence[str], resamples: int, confidence: float, seed: int) -> Resamples:
    """Draw `resamples` times as many patients as there are, with replacement.

    Args:
        patients: the patient of each unit (U); which draw falls on whom depends on the order of first appearance, not
            on the names.
    """
    position = {patient: place for place, patient in enumerate(dict.fromkeys(patients))}
    index = np.array([position[patient] for patient in patients], dtype=np.int64)
    size = len(position)
    # One byte a count: that somebody is drawn more than 255 times has a chance of less than 1e-500.
    found = Resamples(index, np.zeros((resamples, size), dtype=np.uint8), confidence)
    rng = np.random.default_rng([seed, _STREAM])
    for rows in found.portions(size) if size else ():
        found.counts[rows] = rng.multinomial(size, np.full(size, 1 / size), size=rows.stop - rows.start)
    return found


def mean_of(values: Floats, resamples: Resamples) -> Estimate:
    """The mean of (U,) values with the interval of `Resamples.mean`, or the reason why it has none."""
    means, halves = resamples.mean(values[:, None])
    value, half = float(means[0]), float(halves[0])
    if not half > STILL:
        return Estimate(value, np.nan, np.nan, len(values), ONE_PATIENT if np.isnan(half) else SAME)
    return Estimate(value, value - half, value + half, len(values), method="mean over patients, Student's t")


def quantile(confidence: float, freedom: float | None = None) -> float:
    """How many standard errors a two-sided interval goes out: Student's t with `freedom`, or the normal's."""
    tail = (1 + confidence) / 2
    return float(norm.ppf(tail) if freedom is None else t.ppf(tail, freedom))


def wilson(hits: float, n: float, confidence: float, freedom: float | None = None) -> tuple[float, float]:
    """Wilson's score interval of `hits` in `n` independent trials (Wilson 1927, J Am Stat Assoc 22:209).

    Args:
        freedom: degrees of freedom of a variance that was itself estimated; None where it was not.
    """
    z = quantile(confidence, freedom)
    share = hits / n
    middle = (share + z * z / (2 * n)) / (1 + z * z / n)
    half = z / (1 + z * z / n) * np.sqrt(share * (1 - share) / n + z * z / (4 * n * n))
    # At 0 and 1 the bound is exactly there; rounding would leave it a hair outside.
    return (0.0 if hits == 0 else float(middle - half)), (1.0 if hits == n else float(middle + half))


def no_error(patients: Sequence[int], confidence: float) -> float:
    """The lower end of the mean of K shares that are all 1, of so many patients each: Wilson's, patients as trials."""
    return combined([wilson(count, count, confidence)[0] if count else 0.0 for count in patients])


def combined(lows: Sequence[float]) -> float:
    """The lower end of the mean of K figures that are all 1, from theirs (Zou & Donner 2008, Stat Med 27:1693)."""
    return 1 - float(np.linalg.norm(1 - np.asarray(lows, dtype=np.float64))) / len(lows)


def by_logit(value: float, error: float, steps: float) -> tuple[float, float]:
    """`value` in (0, 1) give or take `steps` standard errors, by way of its logit, so that it stays within 0 and 1."""
    middle, half = np.log(value / (1 - value)), steps * error / (value * (1 - value))
    low, high = 1 / (1 + np.exp(-np.array([middle - half, middle + half])))
    return float(low), float(high)
