"""The models on the test units: every figure of reports/metrics.json that needs nothing but their answers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

from pipeline.clinical import by_class, calibration_measures, levels, metrics, paired, sample_size, usefulness
from pipeline.clinical.curves import Bin, Confusion, Roc, confusion, mean_roc, reliability, roc
from pipeline.clinical.predictions import Other
from pipeline.clinical.proportions import Calls
from pipeline.clinical.ranking import Labels, Ranked, ranked
from pipeline.clinical.resampling import Estimate, Floats, Resamples, draw
from pipeline.clinical.units import Units
from pipeline.clinical.usefulness import DecisionCurve
from pipeline.clinical.verdict import transfer_verdict
from pipeline.contract import Calibration
from pipeline.targets import BINARY, Targets, calls
from pipeline.validation_config import Validate

Logits = Mapping[str, npt.NDArray[np.floating]]
NO_CALLS = "no threshold of the other model was fixed before the test"


@dataclass(frozen=True)
class Beside:
    """What the fine-tuned model's answers are set beside.

    Attributes:
        called: (U, K), what scratch model and probe call positive at thresholds of their own, where these are known.
        others: other models, by name.
        parts: by level above the labels' own, what each unit is part of.
    """

    called: Mapping[str, Calls] = field(default_factory=dict)
    others: Mapping[str, Other] = field(default_factory=dict)
    parts: Mapping[str, Sequence[str]] = field(default_factory=dict)


NOTHING = Beside()


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
        confusions: counts of each class, of units whose probabilities are finite.
        decision: net benefit; empty where there are several classes.
        figures: the content of reports/metrics.json, but for what is known without the models' answers.
    """

    units: Units
    targets: Targets
    logits: dict[str, Floats]
    fixed: Calibration
    probabilities: Floats
    called: Calls
    difference: Estimate
    over_probe: Estimate
    curves: dict[str, Roc]
    bins: list[Bin]
    confusions: list[Confusion]
    decision: DecisionCurve
    figures: dict[str, Any]


def evaluate(
    units: Units,
    logits: Logits,
    fixed: Calibration,
    settings: Validate,
    seed: int,
    targets: Targets = BINARY,
    beside: Beside = NOTHING,
) -> Evaluation:
    """Measure the models on the test units, all on the same resamples.

    Args:
        logits: pooled logits (U, K) of `finetuned`, `probe` and `scratch`.
        fixed: what was fixed on validation patients.
        targets: what the labels mean.
        beside: other models and coarser levels.
    """
    labels, drawn = units.labels, draw(units.patients, settings.bootstrap, settings.confidence, seed)
    scores = {model: targets.scores(values) for model, values in logits.items()}
    ranks = {model: ranked(labels, values, drawn) for model, values in scores.items()}
    probabilities = targets.calibrated(logits["finetuned"], fixed)
    called, known = calls(probabilities, fixed.threshold), np.isfinite(probabilities).all(axis=1)
    found = Evaluation(
        units=units,
        targets=targets,
        logits={model: values.astype(np.float64) for model, values in logits.items()},
        fixed=fixed,
        probabilities=probabilities,
        called=called,
        **_differences(ranks),
        curves={model: _curve(labels, values) for model, values in scores.items()},
        bins=reliability(labels.ravel(), probabilities.ravel(), calibration_measures.together(labels, drawn)),
        confusions=[confusion(*each) for each in zip(labels[known].T, called[known].T, strict=True)],
        decision=usefulness.decision_curve(labels[:, 0], probabilities[:, 0], drawn, _grid(targets)),
        figures={},
    )
    found.figures.update(_of_models(found, ranks, drawn, settings))
    found.figures["comparison"] = _comparison(found, ranks, drawn, beside)
    found.figures["levels"] = levels.figures(units, probabilities, fixed, beside.parts, settings, targets)
    return found


def _differences(ranks: Mapping[str, Ranked]) -> dict[str, Estimate]:
    """Of the fine-tuned model over the two others of the run."""
    others = {"difference": ranks["scratch"], "over_probe": ranks["probe"]}
    return {name: paired.compare(ranks["finetuned"], other).difference for name, other in others.items()}


def _curve(labels: Labels, values: Floats) -> Roc:
    return mean_roc([roc(*each) for each in zip(labels.T, values.T, strict=True)])


def _grid(targets: Targets) -> Floats:
    """A needless treatment of one of several classes is another one than that of the next."""
    return usefulness.GRID if targets.kind == "binary" else np.empty(0)


def _of_models(found: Evaluation, ranks: Mapping[str, Ranked], drawn: Resamples, settings: Validate) -> dict[str, Any]:
    """The figures of the models by themselves, and whether transfer helped."""
    targets, labels, fixed, probabilities = found.targets, found.units.labels, found.fixed, found.probabilities
    areas = {
        model: {
            "auroc": metrics.auroc_of(given).figures(),
            "average_precision": metrics.average_precision_of(given).figures(),
        }
        for model, given in ranks.items()
    }
    point = by_class.operating_point(targets, labels, probabilities, fixed.threshold, drawn, settings.prevalences)
    calibrated = calibration_measures.figures(labels, probabilities, drawn)
    sized = {**areas["finetuned"], **point}
    wanted = {name: sized[name] for name in ("sensitivity", "specificity", "auroc")}
    return {
        **areas,
        **by_class.finetuned(areas["finetuned"], targets, labels, ranks["finetuned"].scores, found.called, drawn),
        "prevalence": by_class.prevalence(targets, labels),
        "operating_point": point,
        "calibration": {**calibrated, **by_class.calibrator(targets, fixed)},
        "usefulness": _usefulness(found, drawn),
        "transfer": _transfer(found.difference),
        "sample_size": sample_size.figures(wanted, drawn.patients, settings.interval_width),
        "test": {"patients": drawn.patients, "units": len(labels), **by_class.counts(targets, labels)},
    }


def _usefulness(found: Evaluation, drawn: Resamples) -> dict[str, Any]:
    threshold = found.fixed.threshold
    if not isinstance(threshold, float):
        return {"reason": "a decision curve is of one class: a needless treatment of each weighs differently"}
    return usefulness.at_threshold(found.units.labels[:, 0], found.probabilities[:, 0], threshold, drawn)


def _comparison(found: Evaluation, ranks: Mapping[str, Ranked], drawn: Resamples, beside: Beside) -> dict[str, Any]:
    """Against the scratch model, the probe and others: AUROC, and who is right where calls differ."""
    labels = found.units.labels
    rivals = {name: (ranks[name], beside.called.get(name)) for name in ("scratch", "probe")}
    rivals |= {name: (ranked(labels, other.scores, drawn), other.called) for name, other in beside.others.items()}
    right = (found.called == (labels == 1)).all(axis=1)
    figures = {}
    for name, (given, called) in rivals.items():
        figures[name] = paired.auroc_figures(ranks["finetuned"], given)
        if called is None:
            figures[name]["mcnemar"] = {"p_value": float("nan"), "reason": NO_CALLS}
        elif not np.isfinite(found.probabilities).all() or not np.isfinite(given.scores).all():
            figures[name]["mcnemar"] = {"p_value": float("nan"), "reason": by_class.NOT_FINITE}
        else:
            figures[name]["mcnemar"] = paired.mcnemar(right, (called == (labels == 1)).all(axis=1), drawn)
    return figures


def _transfer(difference: Estimate) -> dict[str, Any]:
    shown = difference.figures()
    return {"verdict": transfer_verdict(difference), "difference": shown.pop("value"), **shown}
