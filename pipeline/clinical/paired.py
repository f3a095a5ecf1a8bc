"""Two models on the same units: the difference of their AUROCs, and which of them is right where they differ."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy.stats import norm, t
from statsmodels.stats.contingency_tables import mcnemar as independent

from pipeline.clinical import delong, jackknife
from pipeline.clinical.metrics import auroc_of, by_delong
from pipeline.clinical.proportions import Calls
from pipeline.clinical.ranking import Labels, Ranked, ranked
from pipeline.clinical.resampling import SAME, STILL, TOO_FEW, Estimate, Floats, Resamples, quantile, undefined

#: Up to so many patients (or units) that the models differ in, McNemar's test is exact.
EXACT = 25


@dataclass(frozen=True)
class AurocTest:
    """AUROC of one minus that of the other, and the two-sided p-value of their being equal; NaN when undefined."""

    difference: Estimate
    p_value: float


def auroc_difference(labels: Labels, scores: Floats, other: Floats, resamples: Resamples) -> Estimate:
    """AUROC of `scores` minus that of `other` on the same units; arguments as of `metrics.auroc`."""
    return compare(ranked(labels, scores, resamples), ranked(labels, other, resamples)).difference


def compare(one: Ranked, other: Ranked) -> AurocTest:
    """The paired test: DeLong's where every patient has one unit, else by the jackknife of patients.

    The interval is symmetric; the jackknife's has Student's t for the patients of the scarcer class. A difference that
    no patient moves (both are perfect, both rank nothing, or both rank alike) has neither interval nor p-value.
    """
    n, reason = len(one.labels), one.undefined or other.undefined
    if reason:
        return AurocTest(undefined(reason, n), float("nan"))
    value, scarcest = one.areas[0] - other.areas[0], one.scarcest
    if scarcest < 2:
        return AurocTest(Estimate(value, np.nan, np.nan, n, TOO_FEW), float("nan"))
    paired = by_delong(one)
    if paired:
        parts = (delong.components(ranks.labels[:, 0], ranks.scores[:, 0]) for ranks in (one, other))
        error = delong.difference_error(*parts)
    else:
        error = jackknife.error(one.without - other.without)
    freedom = None if paired else scarcest - 1
    if error <= STILL:
        return AurocTest(Estimate(value, np.nan, np.nan, n, SAME), float("nan"))
    half = quantile(one.resamples.confidence, freedom) * error
    method = "DeLong, paired" if paired else "jackknife of patients, paired"
    steps = abs(value) / error
    p_value = 2 * float(norm.sf(steps) if paired else t.sf(steps, scarcest - 1))
    return AurocTest(Estimate(value, value - half, value + half, n, method=method), p_value)


def mcnemar(right: Calls, other_right: Calls, resamples: Resamples) -> dict[str, Any]:
    """McNemar's test of whether two models are right equally often, from (U,) which units each is right on.

    Where every patient has one unit it is McNemar's (1947, Psychometrika 12:153), exact for few. Else patients count:
    the sum over them of the units that only the one is right on minus those that only the other is. Its sign is
    flipped patient by patient (exact, for few), or it is set against its variance under equality (Yang, Sun & Hardin
    2010, Biom J 52:638). With one unit each, both are McNemar's.
    """
    only, lost = right & ~other_right, other_right & ~right
    by_patient = resamples.per_patient(only) - resamples.per_patient(lost)
    differing = by_patient[by_patient != 0]
    exact = len(differing) <= EXACT
    if resamples.each_own:
        table = [[0, int(only.sum())], [int(lost.sum()), 0]]
        p_value = float(independent(table, exact=exact, correction=not exact).pvalue)
        method = "McNemar, exact" if exact else "McNemar, continuity corrected"
    else:
        p_value = sign_flips(differing) if exact else _large(differing)
        method = "McNemar, patients' signs flipped" if exact else "McNemar, clustered by patient"
    return {
        "only_this": int(only.sum()),
        "only_other": int(lost.sum()),
        "p_value": round(p_value, 6),
        "method": method,
    }


def sign_flips(sums: Floats) -> float:
    """The exact two-sided p-value of whole (D,) sums whose signs are as likely + as -: all 2**D are counted."""
    sizes, reach = np.abs(sums).astype(np.int64), int(np.abs(sums).sum())
    chances = np.zeros(2 * reach + 1)
    chances[reach] = 1.0
    for size in sizes:
        chances = (np.roll(chances, size) + np.roll(chances, -size)) / 2
    extreme = np.abs(np.arange(-reach, reach + 1)) >= abs(int(sums.sum()))
    return min(1.0, float(chances[extreme].sum()))


def _large(sums: Floats) -> float:
    return 2 * float(norm.sf(abs(sums.sum()) / np.sqrt((sums**2).sum())))


def auroc_figures(one: Ranked, other: Ranked) -> dict[str, Any]:
    """As it stands in reports/metrics.json: the other's AUROC, the difference and its p-value."""
    found = compare(one, other)
    return {
        "auroc": auroc_of(other).figures(),
        "auroc_difference": found.difference.figures(),
        "p_value": round(found.p_value, 6),
        **({"method": found.difference.method} if found.difference.method else {"reason": found.difference.reason}),
    }
