"""The standard error of AUROC over patients of several units, by leaving out each in turn.

The jackknife (Efron & Stein 1981, Ann Stat 9:586) errs to the wide side, where the bootstrap of few patients errs to
the narrow one: 16 patients of 30 slices each, labels mixed, have 95 % intervals that hold the truth in 93 % by it alone
and in 90 % by the bootstrap; `metrics` mixes some clustering in (docs/validation.md). Nothing is computed anew for each
patient: the pairs that one takes away are those of its positive units with all negative ones, and the other way round,
less its own twice.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
from scipy.stats import rankdata

from pipeline.clinical import delong
from pipeline.clinical.resampling import Floats, Resamples


def without_each(labels: npt.NDArray[np.integer], scores: Floats, resamples: Resamples) -> Floats:
    """(P,): AUROC of all units but those of each patient; NaN where a class would be missing.

    Args:
        labels: (U,) of 0 and 1; both must be there.
        scores: (U,), finite.
        resamples: which patient each unit is of.
    """
    sick, patient = labels == 1, resamples.patient
    parts = delong.components(labels, scores)
    m, n = len(parts.positive), len(parts.negative)
    won = np.zeros(len(labels))
    won[sick], won[~sick] = parts.positive * n, parts.negative * m
    # Ranks within each patient: patients in a row, each one's units by their scores.
    level = rankdata(scores, method="dense")
    ranks = rankdata(patient * (level.max() + 1) + level)
    units, own = resamples.per_patient(np.ones(len(labels))), resamples.per_patient(sick)
    before = np.cumsum(units) - units
    inner = resamples.per_patient(np.where(sick, ranks - before[patient], 0.0)) - own * (own + 1) / 2
    pairs = (m - own) * (n - units + own)
    left = m * n * parts.auroc - resamples.per_patient(won) + inner
    return np.asarray(np.where(pairs > 0, left / np.maximum(pairs, 1), np.nan), dtype=np.float64)


def error(left: Floats) -> float:
    """The standard error of a figure, from (P,) figures without each patient; NaN if one is."""
    count = len(left)
    return float(np.sqrt((count - 1) / count * np.sum((left - left.mean()) ** 2)))
