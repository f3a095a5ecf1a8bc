"""The three models on the test units: every figure of reports/metrics.json."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from pipeline.clinical import calibration as calibrating
from pipeline.clinical import metrics
from pipeline.clinical.curves import Bin, Confusion, Roc, confusion, reliability, roc
from pipeline.clinical.resampling import Estimate, Floats, Resamples, draw
from pipeline.clinical.units import Units
from pipeline.clinical.verdict import transfer_verdict
from pipeline.config import Validate
from pipeline.contract import Calibration


@dataclass(frozen=True)
class Evaluation:
    """What the test patients say.

    Attributes:
        units: the U test units.
        logits: float64 (U,) pooled logits by model.
        fixed: the calibration that was applied.
        probabilities: float64 (U,), calibrated, of the fine-tuned model.
        positive: (U,), its calls at the threshold.
        difference, over_probe: AUROC of the fine-tuned model minus that of the scratch model, and of the probe.
        curves: ROC by model.
        bins: reliability of the probabilities.
        confusion: counts at the threshold.
        figures: the content of reports/metrics.json, but for the backbone.
    """

    units: Units
    logits: dict[str, Floats]
    fixed: Calibration
    probabilities: Floats
    positive: npt.NDArray[np.bool_]
    difference: Estimate
    over_probe: Estimate
    curves: dict[str, Roc]
    bins: list[Bin]
    confusion: Confusion
    figures: dict[str, Any]


def evaluate(
    units: Units, logits: Mapping[str, npt.NDArray[np.floating]], fixed: Calibration, settings: Validate, seed: int
) -> Evaluation:
    """Measure the models on the test units, all on the same resamples.

    Args:
        units: the U test units.
        logits: pooled logits (U,) of `finetuned`, `probe` and `scratch`.
        fixed: what was fixed on validation patients.
    """
    labels = units.labels
    drawn = draw(units.patients, settings.bootstrap, settings.confidence, seed)
    scores = {model: values.astype(np.float64) for model, values in logits.items()}
    probabilities = calibrating.probabilities(scores["finetuned"], fixed.temperature)
    positive = probabilities >= fixed.threshold
    difference = metrics.auroc_difference(labels, scores["finetuned"], scores["scratch"], drawn)
    return Evaluation(
        units=units,
        logits=scores,
        fixed=fixed,
        probabilities=probabilities,
        positive=positive,
        difference=difference,
        over_probe=metrics.auroc_difference(labels, scores["finetuned"], scores["probe"], drawn),
        curves={model: roc(labels, values) for model, values in scores.items()},
        bins=reliability(labels, probabilities, settings.confidence),
        confusion=confusion(labels, positive),
        figures={
            **{model: {"auroc": metrics.auroc(labels, values, drawn).figures()} for model, values in scores.items()},
            "operating_point": _operating_point(labels, probabilities, fixed.threshold, drawn),
            "calibration": _calibration(metrics.brier(labels, probabilities, drawn), fixed.temperature),
            "transfer": _transfer(difference),
            "test": {"patients": drawn.patients, "units": len(labels), "positives": int(labels.sum())},
        },
    )


def _operating_point(
    labels: metrics.Labels, probabilities: Floats, threshold: float, drawn: Resamples
) -> dict[str, Any]:
    return {
        "threshold": round(threshold, 6),
        "sensitivity": metrics.sensitivity(labels, probabilities, threshold, drawn).figures(),
        "specificity": metrics.specificity(labels, probabilities, threshold, drawn).figures(),
    }


def _calibration(brier: Estimate, temperature: float) -> dict[str, Any]:
    shown = brier.figures()
    named = {"brier": shown.pop("value"), "brier_low": shown.pop("low"), "brier_high": shown.pop("high")}
    return {**named, **shown, "temperature": round(temperature, 6)}


def _transfer(difference: Estimate) -> dict[str, Any]:
    shown = difference.figures()
    return {"verdict": transfer_verdict(difference), "difference": shown.pop("value"), **shown}
