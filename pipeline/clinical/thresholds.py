"""The threshold of a decision, chosen on validation patients by the rule of params.yaml."""

from __future__ import annotations

import numpy as np

from pipeline.clinical.resampling import Floats
from pipeline.errors import SplitError
from pipeline.targets import Targets
from pipeline.validation_config import ThresholdRule

#: A share such as 9 / 10 may round to a hair under its target.
_HAIR = 1e-12


def choose_threshold(labels: np.typing.NDArray[np.int64], scores: Floats, rule: ThresholdRule) -> float:
    """The threshold in 0..1 at and above which a unit is positive.

    `sensitivity`: the highest that still reaches the target on these units. `specificity`: the lowest that does.
    `youden`: the one of largest sensitivity + specificity - 1 (Youden 1950, Cancer 3:32). `cost`: the one of least
    expected cost, prevalence times misses times their cost plus the false alarms of the others (Pepe 2003, section
    4.3.3). Of equals the most sensitive.

    Every threshold between two neighbouring scores decides alike here; the middle of that gap is taken, so that the
    rounding of another runtime moves no unit across.

    Args:
        labels: (U,) of 0 and 1, both there.
        scores: (U,) probabilities.

    Raises:
        SplitError: no threshold reaches the target specificity, as where negatives have a probability of 1.
    """
    levels = np.unique(scores)[::-1]
    if levels[0] < 1:
        levels = np.r_[1.0, levels]  # at 1, nobody is called positive
    positive, negative = np.sort(scores[labels == 1]), np.sort(scores[labels == 0])
    reached = 1 - np.searchsorted(positive, levels, side="left") / len(positive)
    spared = np.searchsorted(negative, levels, side="left") / len(negative)
    chosen = _chosen(rule, reached, spared, float(np.mean(labels == 1)))
    if chosen == 0 and reached[0] == 0 and len(levels) > 1:
        return float((levels[0] + levels[1]) / 2)
    below = levels[chosen + 1] if chosen + 1 < len(levels) else 0.0
    return float((levels[chosen] + below) / 2)


def _chosen(rule: ThresholdRule, reached: Floats, spared: Floats, prevalence: float) -> int:
    """The place of the level: sensitivity rises with it, and specificity falls."""
    if rule.rule == "sensitivity":
        assert rule.target is not None  # ThresholdRule asks for it
        return int(np.argmax(reached >= max(rule.target - _HAIR, _HAIR)))
    if rule.rule == "specificity":
        assert rule.target is not None
        met = np.flatnonzero(spared >= rule.target - _HAIR)
        if not len(met):
            raise SplitError(
                f"a threshold of specificity {rule.target:g} on validation patients",
                f"at most {spared.max():.3g}: the other negatives have a probability of 1",
                "Lower calibrate.threshold.target in params.yaml, or choose another rule.",
            )
        return int(met[-1])
    if rule.rule == "youden":
        gain = reached + spared
    else:
        assert rule.miss_to_false_alarm is not None
        share = prevalence if rule.prevalence is None else rule.prevalence
        gain = share * rule.miss_to_false_alarm * reached + (1 - share) * spared
    return int(np.flatnonzero(gain >= gain.max() - _HAIR * max(1.0, float(gain.max())))[-1])


def rule_name(rule: ThresholdRule, targets: Targets) -> str:
    """The rule as the contract records it."""
    if targets.kind == "multiclass":
        return "the most probable class"
    if rule.rule == "youden":
        return "youden"
    if rule.rule == "cost":
        where = "that of validation" if rule.prevalence is None else f"{rule.prevalence:g}"
        return f"least cost, a miss as bad as {rule.miss_to_false_alarm:g} false alarms, prevalence {where}"
    return f"{rule.rule} at least {rule.target:g}"
