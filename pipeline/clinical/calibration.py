"""From logits to probabilities and to a decision, fixed on validation patients alone."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import numpy.typing as npt
from scipy.optimize import minimize_scalar

from pipeline.clinical.metrics import Labels
from pipeline.clinical.resampling import Floats
from pipeline.errors import SplitError, TrainingError
from pipeline.targets import Targets
from pipeline.validation_config import ThresholdRule

#: Temperatures stay within these; perfectly separated validation units would drive the best one to 0.
TEMPERATURES = (0.05, 20.0)


def fit(
    labels: Labels, logits: npt.NDArray[np.floating], rule: ThresholdRule, targets: Targets
) -> tuple[float | list[float], float | list[float] | None]:
    """Temperature and threshold from the (U, K) labels and pooled logits of the validation units.

    Of a multilabel task each class has its own; a multiclass task has one temperature, and no threshold.

    Raises:
        TrainingError: a logit that is not finite.
        SplitError: a class that no unit has, or that all have.
    """
    if not np.isfinite(logits).all():
        raise TrainingError(
            "finite logits of the fine-tuned model on validation patients",
            f"{np.count_nonzero(~np.isfinite(logits))} of {logits.size} that are not",
            "Lower the learning rates in the finetune section of params.yaml and run again.",
        )
    for name, positives in zip(targets.named, labels.sum(axis=0), strict=True):
        if positives in (0, len(labels)):
            raise SplitError(
                "positive and negative units on the validation side",
                f"{positives} positive of {len(labels)}{'' if targets.kind == 'binary' else f', class {name!r}'}",
                "Give validation a larger share in the split section of params.yaml.",
            )
    values = logits.astype(np.float64)
    if targets.kind == "multiclass":
        return fit_softmax_temperature(labels, values), None
    temperatures = [fit_temperature(*each) for each in zip(labels.T, values.T, strict=True)]
    probabilities = targets.probabilities(values, temperatures)
    thresholds = [choose_threshold(*each, rule) for each in zip(labels.T, probabilities.T, strict=True)]
    return (temperatures[0], thresholds[0]) if targets.kind == "binary" else (temperatures, thresholds)


def fit_temperature(labels: Labels, logits: Floats) -> float:
    """The temperature of (U,) logits of least negative log-likelihood (Guo et al. 2017, ICML), in `TEMPERATURES`."""
    sign = np.where(labels == 1, -1.0, 1.0)

    def loss(log_temperature: float) -> float:
        return float(np.logaddexp(0.0, sign * logits * np.exp(-log_temperature)).mean())

    return _least(loss)


def fit_softmax_temperature(labels: Labels, logits: Floats) -> float:
    """The same of a softmax over (U, K) logits, with labels of one class each."""

    def loss(log_temperature: float) -> float:
        scaled = logits * np.exp(-log_temperature)
        return float((np.logaddexp.reduce(scaled, axis=1) - (scaled * labels).sum(axis=1)).mean())

    return _least(loss)


def _least(loss: Callable[[float], float]) -> float:
    """The temperature of the least loss, which has one minimum in 1 / T, hence in log T, which is searched."""
    bounds = (float(np.log(TEMPERATURES[0])), float(np.log(TEMPERATURES[1])))
    found = minimize_scalar(loss, bounds=bounds, method="bounded", options={"xatol": 1e-6})
    return float(np.exp(found.x))


def choose_threshold(labels: Labels, scores: Floats, rule: ThresholdRule) -> float:
    """The threshold in 0..1 at and above which a unit is positive.

    `sensitivity`: the highest that still reaches the target on these units. `youden`: the one of largest sensitivity +
    specificity - 1 (Youden 1950, Cancer 3:32), the more sensitive of equals. Every threshold between two neighbouring
    scores decides alike here; the middle of that gap is taken, so that the rounding of another runtime moves no unit
    across.
    """
    levels = np.unique(scores)[::-1]
    positive, negative = np.sort(scores[labels == 1]), np.sort(scores[labels == 0])
    reached = 1 - np.searchsorted(positive, levels, side="left") / len(positive)
    if rule.rule == "sensitivity":
        assert rule.target is not None
        # A share such as 9 / 10 may round to a hair under its target.
        chosen = int(np.argmax(reached >= rule.target - 1e-12))
    else:
        youden = reached + np.searchsorted(negative, levels, side="left") / len(negative) - 1
        chosen = int(np.flatnonzero(youden >= youden.max() - 1e-12)[-1])
    below = levels[chosen + 1] if chosen + 1 < len(levels) else 0.0
    return float((levels[chosen] + below) / 2)


def rule_name(rule: ThresholdRule, targets: Targets) -> str:
    """The rule as the contract records it."""
    if targets.kind == "multiclass":
        return "the most probable class"
    return "youden" if rule.rule == "youden" else f"sensitivity at least {rule.target:g}"
