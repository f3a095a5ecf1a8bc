"""Do probabilities mean what they say? Decomposition of the Brier score, calibration error, slope and intercept.

Of several classes all probabilities are taken together, as if each were a binary answer about the same unit.
"""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from typing import Any

import numpy as np
import statsmodels.api as sm
from statsmodels.tools.sm_exceptions import PerfectSeparationWarning

from pipeline.clinical.curves import groups_of
from pipeline.clinical.metrics import brier
from pipeline.clinical.ranking import Labels
from pipeline.clinical.resampling import TOO_FEW, Estimate, Floats, Resamples, quantile, undefined

#: Probabilities are kept so far from 0 and 1 before their logit is taken.
MARGIN = 1e-6


@dataclass(frozen=True)
class Murphy:
    """The parts of a Brier score: reliability - resolution + uncertainty + within.

    Murphy (1973, J Appl Meteorol 12:595); `within` is what is lost by taking probabilities that differ as one group
    (Stephenson, Coelho & Jolliffe 2008, Weather and Forecasting 23:752), 0 where each group has one probability.
    """

    reliability: float
    resolution: float
    uncertainty: float
    within: float


def decompose(labels: Labels, probabilities: Floats, bins: int = 10) -> Murphy:
    """Of (U,) finite probabilities in at most `bins` groups of about equal count, equal ones never parted."""
    total, base = len(labels), float(labels.mean())
    reliability = resolution = 0.0
    for here in groups_of(probabilities, bins):
        observed, predicted = float(labels[here].mean()), float(probabilities[here].mean())
        reliability += len(here) / total * (predicted - observed) ** 2
        resolution += len(here) / total * (observed - base) ** 2
    uncertainty = base * (1 - base)
    score = float(np.mean((probabilities - labels) ** 2))
    return Murphy(reliability, resolution, uncertainty, score - (reliability - resolution + uncertainty))


def calibration_error(labels: Labels, probabilities: Floats, resamples: Resamples, bins: int = 10) -> Estimate:
    """Expected calibration error in groups of equal count (Nguyen & O'Connor 2015, EMNLP, p. 1587).

    Noise alone makes it positive, and resampling adds as much noise again, so the bootstrap percentiles are reflected
    about the figure (the basic bootstrap), and the interval reaches down to 0 where noise explains all of it.
    """
    found = groups_of(probabilities, bins)
    gaps = np.zeros((len(labels), len(found) + 1))
    for place, here in enumerate(found):
        gaps[here, place] = probabilities[here] - labels[here]
    gaps[:, -1] = 1
    value = float(np.abs(gaps[:, :-1].sum(axis=0)).sum() / len(labels))
    drawn = resamples.sums(gaps)
    low, high, reason = resamples.interval(np.abs(drawn[:, :-1]).sum(axis=1) / drawn[:, -1])
    if reason:
        return Estimate(value, np.nan, np.nan, len(labels), reason)
    low, high = max(0.0, value - max(0.0, high - value)), value + max(0.0, value - low)
    return Estimate(value, low, high, len(labels), method="cluster bootstrap, reflected")


def recalibration(labels: Labels, probabilities: Floats, resamples: Resamples) -> tuple[Estimate, Estimate]:
    """Calibration slope and calibration in the large: logistic regression on the logit (Cox 1958, Biometrika 45:562).

    Slope: 1 is perfect, below it probabilities are too extreme. Intercept: with the logit as offset (a slope of 1); 0
    is perfect, above it probabilities are too low (Van Calster et al. 2019, BMC Med 17:230). Intervals by the
    sandwich variance clustered by patient, Student's t.
    """
    inside = np.clip(probabilities, MARGIN, 1 - MARGIN)
    logits = np.log(inside / (1 - inside))
    sick = labels == 1
    scarcest = min(resamples.behind(sick), resamples.behind(~sick))
    if not scarcest:
        return (undefined("only one class among the units", len(labels)),) * 2
    if scarcest < 2:
        return (undefined(TOO_FEW, len(labels)),) * 2
    ones = np.ones((len(labels), 1))
    intercept = _coefficient(labels, ones, logits, resamples, scarcest)
    if np.ptp(logits) == 0:
        return undefined("all probabilities are equal", len(labels)), intercept
    if logits[sick].min() >= logits[~sick].max() or logits[sick].max() <= logits[~sick].min():
        return undefined("the classes do not overlap: the slope has no bound", len(labels)), intercept
    return _coefficient(labels, np.column_stack([ones, logits]), None, resamples, scarcest), intercept


def _coefficient(
    labels: Labels, design: Floats, offset: Floats | None, resamples: Resamples, scarcest: int
) -> Estimate:
    """The last coefficient of a logistic regression."""
    model = sm.GLM(labels.astype(np.float64), design, family=sm.families.Binomial(), offset=offset)
    clusters = {"groups": resamples.patient, "use_correction": True}
    try:
        with warnings.catch_warnings(), np.errstate(all="ignore"):
            warnings.simplefilter("error", PerfectSeparationWarning)
            fitted = model.fit(cov_type="cluster", cov_kwds=clusters)
    except PerfectSeparationWarning:
        return undefined("the classes hardly overlap: the regression has no bound", len(labels))
    value, error = float(fitted.params[-1]), float(fitted.bse[-1])
    if not fitted.converged or not np.isfinite([value, error]).all():
        return undefined("the regression does not come to an end", len(labels))
    half = quantile(resamples.confidence, scarcest - 1) * error
    method = "logistic regression, sandwich variance of patients"
    return Estimate(value, value - half, value + half, len(labels), method=method)


def figures(labels: Labels, probabilities: Floats, resamples: Resamples) -> dict[str, Any]:
    """The part of reports/metrics.json under `calibration`, from (U, K) labels and probabilities."""
    score = brier(labels, probabilities, resamples)
    if not np.isfinite(score.value):
        missing = score.figures()
        parts = dict.fromkeys(("brier_reliability", "brier_resolution", "brier_uncertainty", "brier_within"), np.nan)
        return {
            "brier": missing,
            **parts,
            "ece": missing,
            "slope": missing,
            "intercept": missing,
            "reason": score.reason,
        }
    flat = together(labels, resamples)
    parts = vars(decompose(labels.ravel(), probabilities.ravel()))
    slope, intercept = recalibration(labels.ravel(), probabilities.ravel(), flat)
    return {
        "brier": score.figures(),
        **{f"brier_{name}": round(value, 6) for name, value in parts.items()},
        "ece": calibration_error(labels.ravel(), probabilities.ravel(), flat).figures(),
        "slope": slope.figures(),
        "intercept": intercept.figures(),
    }


def together(labels: Labels, resamples: Resamples) -> Resamples:
    """The resamples of all answers about all units, row by row of (U, K)."""
    if labels.shape[1] == 1:
        return resamples
    return Resamples(np.repeat(resamples.patient, labels.shape[1]), resamples.counts, resamples.confidence)
