"""The words of the report that differ between one positive class and several classes, and the tables of the latter."""

from __future__ import annotations

from typing import Any

import numpy as np

from pipeline.clinical.evaluation import Evaluation
from pipeline.data_config import Data
from pipeline.targets import Targets


def purpose(data: Data) -> str:
    """What a unit is given a probability of."""
    if data.task == "binary":
        finding = f"carrying the label “{data.positive}”" if data.positive else "being positive (label 1)"
        return f"a probability of {finding}"
    names = ", ".join(f"“{name}”" for name in data.targets.named)
    rest = "of which it has one" if data.task == "multiclass" else "each by itself"
    return f"a probability of each of the classes {names}, {rest}"


def tested(found: Evaluation) -> str:
    """How many test units are of which class."""
    test = found.figures["test"]
    if found.targets.kind == "binary":
        return f"{test['positives']} positive"
    return ", ".join(f"{count} with “{name}”" for name, count in test["classes"].items())


def decided(found: Evaluation, confirm: str) -> str:
    """How a probability becomes a decision, and whether the test patients confirm it."""
    if found.targets.kind == "multiclass":
        return f"The most probable class is called; probabilities were calibrated on validation patients. {confirm}"
    fixed = f"fixed on validation patients by the rule “{found.fixed.rule}”. {confirm}"
    if found.targets.kind == "multilabel":
        return f"Each class has a threshold of its own (below), {fixed}"
    return f"The threshold {found.figures['operating_point']['threshold']:.2f} was {fixed}"


def notes(found: Evaluation) -> tuple[str, str, str]:
    """What sensitivity, specificity and AUROC are of."""
    if found.targets.kind == "binary":
        at = f"at threshold {found.figures['operating_point']['threshold']:.2f}"
        return f"positives found, {at}", f"negatives cleared, {at}", "1 is perfect, 0.5 is chance"
    mean = "mean of the classes, each against the rest"
    return f"units of a class found; {mean}", f"units of no such class cleared; {mean}", f"0.5 is chance; {mean}"


def by_class(found: Evaluation) -> list[dict[str, Any]]:
    """A row for each of several classes: how often it is there, and its figures."""
    thresholds = found.fixed.threshold if isinstance(found.fixed.threshold, list) else [None] * found.targets.outputs
    figures = found.figures["finetuned"]["classes"]
    return [
        {"name": name, "units": found.figures["test"]["classes"][name], "threshold": threshold, **figures[name]}
        for name, threshold in zip(figures, thresholds, strict=True)
    ]


def matrix(found: Evaluation) -> list[tuple[str, list[int]]]:
    """Of a multiclass task the name of each class and how many of its units are called which; else nothing."""
    if found.targets.kind != "multiclass":
        return []
    counts = found.units.labels.T @ found.called.astype(np.int64)
    return list(zip(found.targets.named, counts.tolist(), strict=True))


def temperature(found: Evaluation) -> str:
    """Of the calibration, where it is one."""
    if found.fixed.knots is not None:
        return ", isotonic"
    fixed = found.fixed.temperature
    return "" if isinstance(fixed, list) else f", temperature {fixed:.2f}"


def observed(targets: Targets) -> str:
    """The axis of the reliability diagram."""
    return "Observed share of positives" if targets.kind == "binary" else "Observed share, all classes together"
