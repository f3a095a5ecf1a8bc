"""What validation found as tables: predictions, and the data that `dvc plots` draws."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from pipeline.clinical.curves import precision_at
from pipeline.clinical.evaluation import Evaluation
from pipeline.files import write_csv


def write_predictions(found: Evaluation, folder: Path) -> None:
    """predictions.csv: a row for each unit; of several classes the label in words, probability, logits of each."""
    targets, labels = found.targets, found.units.labels
    ends = [""] if targets.kind == "binary" else [f"_{name}" for name in targets.named]
    columns = {f"probability{end}": found.probabilities[:, place] for place, end in enumerate(ends)}
    thresholds = found.fixed.threshold
    if thresholds is not None:
        each = thresholds if isinstance(thresholds, list) else [thresholds]
        columns |= {f"threshold{end}": np.full(len(labels), own) for end, own in zip(ends, each, strict=True)}
    for name, values in found.logits.items():
        columns |= {f"logit_{name}{end}": values[:, place] for place, end in enumerate(ends)}
    rows = [
        {
            "unit": unit,
            "patient": found.units.patients[i],
            "split": "test",
            "label": targets.words(labels[i] == 1),
            **{name: round(float(values[i]), 6) for name, values in columns.items()},
        }
        for i, unit in enumerate(found.units.ids)
    ]
    write_csv(folder / "predictions.csv", ["unit", "patient", "split", "label", *columns], rows)


def write_plots(found: Evaluation, folder: Path) -> None:
    """The tables that `dvc plots` draws."""
    grid = np.linspace(0, 1, 101)
    rates = {name: curve.at(grid) for name, curve in found.curves.items()}
    roc = [
        {"false_positive_rate": round(float(x), 2), **{name: round(float(y[i]), 6) for name, y in rates.items()}}
        for i, x in enumerate(grid)
    ]
    write_csv(folder / "roc.csv", ["false_positive_rate", *rates], roc)
    bins = [
        {name: round(getattr(b, name), 6) for name in ("predicted", "observed", "low", "high")} | {"units": b.n}
        for b in found.bins
    ]
    write_csv(folder / "calibration.csv", ["predicted", "observed", "low", "high", "units"], bins)
    write_csv(folder / "precision_recall.csv", ["recall", *rates], _precision_recall(found))
    decided = vars(found.decision)
    rows = zip(*(np.round(values, 6).tolist() for values in decided.values()), strict=True)
    names = ["threshold", *list(decided)[1:], "treat_none"]
    decisions = [dict(zip(names, [*row, 0.0], strict=True)) for row in rows]
    write_csv(folder / "decision_curve.csv", names, decisions)
    write_csv(folder / "confusion.csv", ["actual", "predicted"], _confusion(found))


def _precision_recall(found: Evaluation) -> list[dict[str, float]]:
    """The precision of each model at each recall; of several classes the mean."""
    grid, labels = np.linspace(0.01, 1, 100), found.units.labels
    curves = {}
    for name, logits in found.logits.items():
        each = zip(labels.T, found.targets.scores(logits).T, strict=True)
        curves[name] = np.mean([precision_at(own, score, grid) for own, score in each], axis=0)
    return [
        {"recall": round(float(x), 2), **{name: round(float(y[i]), 6) for name, y in curves.items()}}
        for i, x in enumerate(grid)
    ]


def _confusion(found: Evaluation) -> list[dict[str, str]]:
    """What each unit is and is called; of a multilabel task each unit and class."""
    targets, actual, called = found.targets, found.units.labels == 1, found.called
    if targets.kind == "multiclass":
        pairs = [(targets.words(own), targets.words(call)) for own, call in zip(actual, called, strict=True)]
    else:
        several = [(f"not {name}", name) for name in targets.named]
        words = [("negative", "positive")] if targets.kind == "binary" else several
        pairs = [
            (words[place][int(own)], words[place][int(call)])
            for i in range(len(actual))
            for place, (own, call) in enumerate(zip(actual[i], called[i], strict=True))
        ]
    return [{"actual": own, "predicted": call} for own, call in pairs]
