"""Shares of units with intervals that know of patients.

Where every patient has one unit: Wilson's interval. Else Wilson's with the number of independent units that the
observed variance between patients amounts to (the design effect of Rao & Scott 1992, Biometrics 48:577, by the
linearised ratio), and Student's t for the normal quantile, as that variance is an estimate from so many patients.

Where few patients have an error, that variance says little. So one patient's worth of full clustering, where a patient
counts as one unit, is mixed into it, and with errors of fewer than `resampling.FEW` patients an interval claims no more
than that of no error among the patients with a hit, which has them as trials (`resampling.no_error`). Of intervals by
bootstrap percentiles, by the logit and this one, this one covered best (docs/validation.md).
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from pipeline.clinical.ranking import columns
from pipeline.clinical.resampling import FEW, ONE_PATIENT, Estimate, Floats, Resamples, no_error, undefined, wilson

Calls = npt.NDArray[np.bool_]
WILSON = "Wilson"
CLUSTERED = "Wilson, design effect of patients (Rao & Scott)"


def share(hits: Calls, among: Calls, reason: str, resamples: Resamples) -> Estimate:
    """Share of `hits` among the units of `among`, both (U,); of (U, K) the mean of the K shares.

    Args:
        reason: said where `among` has no unit.
    """
    pairs = columns(hits, among)
    if not pairs or not all(own.any() for _, own in pairs):
        return undefined(reason, 0)
    shares = [float(np.mean(right[own])) for right, own in pairs]
    value, confidence = float(np.mean(shares)), resamples.confidence
    n = int(among.any(axis=1).sum()) if among.ndim > 1 else int(among.sum())
    patients = [resamples.behind(own) for _, own in pairs]
    if len(pairs) == 1 and patients[0] == n:
        return Estimate(value, *wilson(value * n, n, confidence), n, method=WILSON)
    hit, missed = ([own & (right == side) for right, own in pairs] for side in (True, False))
    most, least = (no_error([resamples.behind(units) for units in side], confidence) for side in (hit, missed))
    if value in (0.0, 1.0):
        ends = (most, 1.0) if value else (0.0, 1 - least)
        return Estimate(value, *ends, n, method=CLUSTERED)
    if min(patients) < 2:
        return Estimate(value, np.nan, np.nan, n, ONE_PATIENT)
    size = _independent(pairs, value, resamples, n)
    low, high = wilson(value * size, size, confidence, min(patients) - 1)
    if resamples.behind(np.any(missed, axis=0)) < FEW:
        low = min(low, most)
    if resamples.behind(np.any(hit, axis=0)) < FEW:
        high = max(high, 1 - least)
    return Estimate(value, low, high, n, method=CLUSTERED)


def _independent(pairs: list[tuple[Calls, ...]], value: float, resamples: Resamples, n: int) -> float:
    """How many independent units vary as these do between patients; never more than there are.

    With one pseudo-patient of full clustering beside the patients with a hit or those with an error, whichever are
    fewer: else 20 patients of 10 units that share 0.8, 95 % hits, have intervals that hold the truth in 88 %.
    """
    influence = np.mean([residuals(right & own, own, resamples) for right, own in pairs], axis=0)
    there = resamples.behind(np.any([own for _, own in pairs], axis=0))
    variance = float(np.sum(influence**2)) * there / (there - 1)
    observed = min(float(n), value * (1 - value) / variance) if variance > 0 else float(n)
    full = len(pairs) ** 2 / sum(1 / resamples.behind(own) for _, own in pairs)
    sides = ([own & (right == hit) for right, own in pairs] for hit in (True, False))
    known = min(resamples.behind(np.any(side, axis=0)) for side in sides)
    return min(observed, (known + 1) / (known / observed + 1 / full))


def residuals(right: Calls, own: Calls, resamples: Resamples) -> Floats:
    """(P,): what each patient moves the share of `right` in `own`, both (U,), so that its variance is their squares'.

    It is the linearised ratio of two sums over patients (Cochran 1977, Sampling Techniques, 3rd ed., section 6.5).
    """
    hits, of = resamples.per_patient(right), resamples.per_patient(own)
    return np.asarray((hits - hits.sum() / of.sum() * of) / of.sum(), dtype=np.float64)
