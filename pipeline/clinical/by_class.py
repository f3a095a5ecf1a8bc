"""The figures of reports/metrics.json that a binary task has once and a task of several classes for each of them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from pipeline.clinical import metrics
from pipeline.clinical.metrics import Calls, Labels
from pipeline.clinical.resampling import Floats, Resamples, undefined
from pipeline.targets import Targets, calls

#: What sensitivity and specificity of several classes are.
AVERAGE = "mean of the classes, each against the rest"


def finetuned(
    area: Mapping[str, Any], targets: Targets, labels: Labels, scores: Floats, called: Calls, drawn: Resamples
) -> dict[str, Any]:
    """The fine-tuned model's section with `classes`: AUROC, sensitivity and specificity of each; empty if binary.

    Args:
        area: its section so far, with the AUROC of all classes.
        targets: what the labels mean.
        labels: (U, K) of 0 and 1.
        scores: (U, K) by which units are ranked.
        called: (U, K).
        drawn: resamples of the patients.
    """
    if targets.kind == "binary":
        return {}
    found = {
        name: {
            "auroc": metrics.auroc(own, score, drawn).figures(),
            "sensitivity": metrics.sensitivity(own, call, drawn).figures(),
            "specificity": metrics.specificity(own, call, drawn).figures(),
        }
        for name, own, score, call in zip(targets.named, labels.T, scores.T, called.T, strict=True)
    }
    return {"finetuned": {**area, "classes": found}}


def operating_point(
    targets: Targets,
    labels: Labels,
    probabilities: Floats,
    threshold: float | Sequence[float] | None,
    drawn: Resamples,
) -> dict[str, Any]:
    """Threshold (none of a multiclass task), sensitivity and specificity; of several classes their mean."""
    point: dict[str, Any] = {} if targets.kind == "binary" else {"average": AVERAGE}
    if threshold is not None:
        point["threshold"] = rounded(targets, threshold)
    called = calls(probabilities, threshold)
    for name, share in (("sensitivity", metrics.sensitivity), ("specificity", metrics.specificity)):
        known = np.isfinite(probabilities).all()
        found = share(labels, called, drawn) if known else undefined("a probability is not finite", len(labels))
        point[name] = found.figures()
    return point


def counts(targets: Targets, labels: Labels) -> dict[str, Any]:
    """How many units are positive, or of each class."""
    each = [int(count) for count in labels.sum(axis=0)]
    return (
        {"positives": each[0]} if targets.kind == "binary" else {"classes": dict(zip(targets.named, each, strict=True))}
    )


def rounded(targets: Targets, values: float | Sequence[float]) -> float | dict[str, float]:
    """To six decimals; by class, where each has its own."""
    if isinstance(values, (int, float)):
        return round(values, 6)
    return {name: round(value, 6) for name, value in zip(targets.named, values, strict=True)}
