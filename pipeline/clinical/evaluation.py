"""The three models on the test units: every figure of reports/metrics.json."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from pipeline.clinical import by_class, metrics
from pipeline.clinical.curves import Bin, Confusion, Roc, confusion, mean_roc, reliability, roc
from pipeline.clinical.resampling import Estimate, Floats, draw
from pipeline.clinical.units import Units
from pipeline.clinical.verdict import transfer_verdict
from pipeline.contract import Calibration
from pipeline.targets import BINARY, Targets, calls
from pipeline.validation_config import Validate

Logits = Mapping[str, npt.NDArray[np.floating]]


@dataclass(frozen=True)
class Evaluation:
    """What the test patients say; K is 1 where the task is binary.

    Attributes:
        units: the U test units.
        targets: what their labels mean.
        logits: float64 (U, K) pooled logits by model.
        fixed: the calibration that was applied.
        probabilities: float64 (U, K), calibrated, of the fine-tuned model.
        called: (U, K), the classes that it says are there.
        difference, over_probe: AUROC of the fine-tuned model minus that of the scratch model, and of the probe.
        curves: ROC by model, the mean of the classes, each against the rest.
        bins: reliability of the probabilities, of all classes together.
        confusions: counts of each class.
        figures: the content of reports/metrics.json, but for the backbone.
    """

    units: Units
    targets: Targets
    logits: dict[str, Floats]
    fixed: Calibration
    probabilities: Floats
    called: metrics.Calls
    difference: Estimate
    over_probe: Estimate
    curves: dict[str, Roc]
    bins: list[Bin]
    confusions: list[Confusion]
    figures: dict[str, Any]


def evaluate(
    units: Units, logits: Logits, fixed: Calibration, settings: Validate, seed: int, targets: Targets = BINARY
) -> Evaluation:
    """Measure the models on the test units, all on the same resamples.

    Args:
        logits: pooled logits (U, K) of `finetuned`, `probe` and `scratch`.
        fixed: what was fixed on validation patients.
        targets: what the labels mean.
    """
    labels = units.labels
    drawn = draw(units.patients, settings.bootstrap, settings.confidence, seed)
    scores = {model: targets.scores(values) for model, values in logits.items()}
    probabilities = targets.probabilities(logits["finetuned"], fixed.temperature)
    called = calls(probabilities, fixed.threshold)
    difference = metrics.auroc_difference(labels, scores["finetuned"], scores["scratch"], drawn)
    areas = {model: {"auroc": metrics.auroc(labels, values, drawn).figures()} for model, values in scores.items()}
    return Evaluation(
        units=units,
        targets=targets,
        logits={model: values.astype(np.float64) for model, values in logits.items()},
        fixed=fixed,
        probabilities=probabilities,
        called=called,
        difference=difference,
        over_probe=metrics.auroc_difference(labels, scores["finetuned"], scores["probe"], drawn),
        curves={model: _curve(labels, values) for model, values in scores.items()},
        bins=reliability(labels.ravel(), probabilities.ravel(), settings.confidence),
        confusions=[confusion(*each) for each in zip(labels.T, called.T, strict=True)],
        figures={
            **areas,
            **by_class.finetuned(areas["finetuned"], targets, labels, scores["finetuned"], called, drawn),
            "operating_point": by_class.operating_point(targets, labels, probabilities, fixed.threshold, drawn),
            "calibration": _calibration(metrics.brier(labels, probabilities, drawn), targets, fixed.temperature),
            "transfer": _transfer(difference),
            "test": {"patients": drawn.patients, "units": len(labels), **by_class.counts(targets, labels)},
        },
    )


def _curve(labels: metrics.Labels, scores: Floats) -> Roc:
    return mean_roc([roc(*each) for each in zip(labels.T, scores.T, strict=True)])


def _calibration(brier: Estimate, targets: Targets, temperature: float | list[float]) -> dict[str, Any]:
    shown = brier.figures()
    named = {"brier": shown.pop("value"), "brier_low": shown.pop("low"), "brier_high": shown.pop("high")}
    return {**named, **shown, "temperature": by_class.rounded(targets, temperature)}


def _transfer(difference: Estimate) -> dict[str, Any]:
    shown = difference.figures()
    return {"verdict": transfer_verdict(difference), "difference": shown.pop("value"), **shown}
