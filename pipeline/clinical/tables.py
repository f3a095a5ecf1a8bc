"""What validation found as tables: predictions, and the data that `dvc plots` draws."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from pipeline.clinical.evaluation import Evaluation
from pipeline.files import write_csv


def write_predictions(found: Evaluation, folder: Path) -> None:
    """predictions.csv: a row for each unit; of several classes the label in words, a probability and logits of each."""
    targets, labels = found.targets, found.units.labels
    ends = [""] if targets.kind == "binary" else [f"_{name}" for name in targets.named]
    columns = {f"probability{end}": found.probabilities[:, place] for place, end in enumerate(ends)}
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
    bins = [{"predicted": round(b.predicted, 6), "observed": round(b.observed, 6), "units": b.n} for b in found.bins]
    write_csv(folder / "calibration.csv", ["predicted", "observed", "units"], bins)
    write_csv(folder / "confusion.csv", ["actual", "predicted"], _confusion(found))


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
