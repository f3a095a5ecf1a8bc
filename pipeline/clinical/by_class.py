"""The figures of reports/metrics.json that a binary task has once and a task of several classes for each of them."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from pipeline.calibrator import Calibration
from pipeline.clinical import metrics, predictive
from pipeline.clinical.proportions import Calls
from pipeline.clinical.ranking import Labels, ranked
from pipeline.clinical.resampling import Estimate, Floats, Resamples, undefined
from pipeline.targets import Targets, calls

Share = Callable[[Labels, Calls, Resamples], Estimate]

#: What sensitivity and specificity of several classes are.
AVERAGE = "mean of the classes, each against the rest"
SHARES = {
    "sensitivity": metrics.sensitivity,
    "specificity": metrics.specificity,
    "ppv": metrics.ppv,
    "npv": metrics.npv,
}
RATIOS = {"likelihood_ratio_positive": True, "likelihood_ratio_negative": False}
NOT_FINITE = "a probability is not finite"


def finetuned(
    area: Mapping[str, Any], targets: Targets, labels: Labels, scores: Floats, called: Calls, drawn: Resamples
) -> dict[str, Any]:
    """The fine-tuned model's section with `classes`: areas and shares of each; empty if binary.

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
    found = {}
    for name, own, score, call in zip(targets.named, labels.T, scores.T, called.T, strict=True):
        ranks, finite = ranked(own, score, drawn), np.isfinite(score).all()
        found[name] = {
            "auroc": metrics.auroc_of(ranks).figures(),
            "average_precision": metrics.average_precision_of(ranks).figures(),
            **measured(SHARES, own, call, drawn, finite=bool(finite)),
        }
    return {"finetuned": {**area, "classes": found}}


def operating_point(
    targets: Targets,
    labels: Labels,
    probabilities: Floats,
    threshold: float | Sequence[float] | None,
    drawn: Resamples,
    prevalences: Sequence[float] = (),
) -> dict[str, Any]:
    """Threshold (none of a multiclass task) and shares; of several classes the mean of sensitivity and specificity.

    Predictive values and likelihood ratios are of one class against one: of several they stand with each class.
    """
    point: dict[str, Any] = {} if targets.kind == "binary" else {"average": AVERAGE}
    if threshold is not None:
        point["threshold"] = rounded(targets, threshold)
    binary, called = targets.kind == "binary", calls(probabilities, threshold)
    measures = shares(targets)
    if not np.isfinite(probabilities).all():
        nothing = undefined(NOT_FINITE, len(labels)).figures()
        return point | dict.fromkeys([*measures, *(RATIOS if binary else ())], nothing)
    estimates = {name: measure(labels, called, drawn) for name, measure in measures.items()}
    if binary:
        ratios = {
            name: predictive.likelihood_ratio(labels[:, 0], called[:, 0], drawn, positive)
            for name, positive in RATIOS.items()
        }
        both = (estimates["sensitivity"], estimates["specificity"])
        estimates |= ratios
        point["at_prevalence"] = {
            f"{prevalence:g}": predictive.at_prevalence(prevalence, *both, list(ratios.values()))
            for prevalence in prevalences
        }
    return point | {name: estimate.figures() for name, estimate in estimates.items()}


def measured(
    measures: Mapping[str, Share], labels: Labels, called: Calls, drawn: Resamples, *, finite: bool
) -> dict[str, Any]:
    """The figures of shares, or, where not all probabilities are finite, that they are not."""
    return {
        name: (measure(labels, called, drawn) if finite else undefined(NOT_FINITE, len(labels))).figures()
        for name, measure in measures.items()
    }


def shares(targets: Targets) -> dict[str, Share]:
    """Those of the operating point: of several classes predictive values stand with each class alone."""
    return {name: SHARES[name] for name in (SHARES if targets.kind == "binary" else ("sensitivity", "specificity"))}


def counts(targets: Targets, labels: Labels) -> dict[str, Any]:
    """How many units are positive, or of each class."""
    each = [int(count) for count in labels.sum(axis=0)]
    return (
        {"positives": each[0]} if targets.kind == "binary" else {"classes": dict(zip(targets.named, each, strict=True))}
    )


def prevalence(targets: Targets, labels: Labels) -> float | dict[str, float]:
    """The share of positive units, or of those of each class."""
    shares = [float(share) for share in labels.mean(axis=0)] if len(labels) else [float("nan")] * labels.shape[1]
    return rounded(targets, shares[0] if targets.kind == "binary" else shares)


def calibrator(targets: Targets, fixed: Calibration) -> dict[str, Any]:
    """What makes probabilities of logits: its kind, and the temperature where it is one."""
    if fixed.knots is not None:
        return {"calibrator": "isotonic"}
    return {"calibrator": "temperature", "temperature": rounded(targets, fixed.temperature)}


def rounded(targets: Targets, values: float | Sequence[float]) -> float | dict[str, float]:
    """To six decimals; by class, where each has its own."""
    if isinstance(values, (int, float)):
        return round(values, 6)
    return {name: round(value, 6) for name, value in zip(targets.named, values, strict=True)}
