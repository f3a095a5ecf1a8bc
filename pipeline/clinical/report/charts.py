"""The charts of the report, from numbers to inline SVG."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from markupsafe import Markup

from pipeline.clinical.curves import Bin, Roc
from pipeline.clinical.report.figures import interval
from pipeline.clinical.report.svg import Frame, picture, tag, ticks

#: Models by their name in reports/metrics.json, as the reader sees them; the key is the colour's class, too.
MODELS = {"finetuned": "Fine-tuned", "probe": "Probe on frozen features", "scratch": "Trained from scratch"}
#: The same, where there is little room.
SHORT = {"finetuned": "Fine-tuned", "probe": "Probe", "scratch": "From scratch"}

UNIT_TICKS = (0.0, 0.2, 0.4, 0.6, 0.8, 1.0)


def roc(curves: Mapping[str, Roc], operating_point: tuple[float, float], threshold: float | None) -> Markup:
    """ROC curves by model, and where the operating threshold puts the fine-tuned one.

    Args:
        curves: by model; of several classes the mean.
        operating_point: false and true positive rate, NaN when undefined.
        threshold: None where there is not one for all.
    """
    frame = Frame(44, 40, 400, 340, (0, 1), (0, 1))
    frame.grid(UNIT_TICKS, UNIT_TICKS)
    frame.titles("False positive rate (1 minus specificity)", "Sensitivity")
    frame.segment((0, 0), (1, 1), "chance")
    for model in reversed(MODELS):  # the fine-tuned one on top
        curve = curves[model]
        points = zip(curve.false_positive_rate.tolist(), curve.true_positive_rate.tolist(), strict=True)
        frame.line(points, model)
    words = "The operating point is undefined."
    if threshold is None:
        words = "Each curve is the mean of those of the classes, each against the rest."
    elif all(map(math.isfinite, operating_point)):
        fpr, tpr = operating_point
        words = f"At the threshold {threshold:.2f}: sensitivity {tpr:.2f}, specificity {1 - fpr:.2f}."
        frame.dot(operating_point, "finetuned big", words, radius=7)
        x, anchor = (frame.x(fpr) - 14, "label halo end") if fpr > 0.6 else (frame.x(fpr) + 14, "label halo")
        frame.text(x, min(frame.y(tpr) + 24, 330), f"threshold {threshold:.2f}", anchor)
    return picture("roc", 460, 424, "ROC curves on the test patients", words, frame.parts)


def precision_recall(rows: Sequence[Mapping[str, Any]], prevalence: float, at: tuple[float, float]) -> Markup:
    """Precision over recall by model; precision without any skill is the prevalence (Saito 2015, PLoS One 10:e0118432).

    Args:
        rows: of reports/plots/precision_recall.csv, `recall` and a column for each model.
        prevalence: share of positives among the test units; NaN where there are several classes.
        at: recall and precision at the operating point, NaN when undefined.
    """
    frame = Frame(44, 40, 400, 340, (0, 1), (0, 1))
    frame.grid(UNIT_TICKS, UNIT_TICKS)
    frame.titles("Recall (sensitivity)", "Precision (positive predictive value)")
    words = []
    if math.isfinite(prevalence):
        frame.segment((0, prevalence), (1, prevalence), "chance")
        frame.text(frame.x(0) + 6, frame.y(prevalence) - 7, f"prevalence {prevalence:.2f}", "tick halo")
        words.append(f"The prevalence, which is the precision of chance, is {prevalence:.2f}.")
    for model in reversed(MODELS):
        points = [(cell(row, "recall"), cell(row, model)) for row in rows]
        frame.line([point for point in points if all(map(math.isfinite, point))], model)
    if all(map(math.isfinite, at)):
        says = f"At the threshold: recall {at[0]:.2f}, precision {at[1]:.2f}."
        words.append(says)
        frame.dot(at, "finetuned big", says, radius=7)
    title = "Precision-recall curves on the test patients"
    return picture("precision", 460, 424, title, " ".join(words) or "One curve a model.", frame.parts)


def cell(row: Mapping[str, Any], name: str) -> float:
    """A number of a table; NaN for an empty cell or a column that is not there."""
    value = row.get(name)
    return float(value) if value not in ("", None) else math.nan


def reliability(bins: Sequence[Bin], observed: str, spread: Sequence[tuple[int, int]]) -> Markup:
    """Observed share of positives against predicted probability with its band, and how the predictions are spread.

    Args:
        bins: from low to high probabilities.
        observed: what the y axis is called.
        spread: how many positives and negatives have a probability in each of as many equal steps of 0..1.
    """
    frame = Frame(44, 40, 400, 340, (0, 1), (0, 1))
    frame.grid([], UNIT_TICKS)
    frame.titles("", observed)
    frame.segment((0, 0), (1, 1), "chance")
    frame.band([(item.predicted, item.low, item.high) for item in bins], "finetuned")
    frame.line([(item.predicted, item.observed) for item in bins], "finetuned")
    for item in bins:
        says = f"{item.n} units: predicted {item.predicted:.2f}, observed {item.observed:.2f}"
        frame.dot((item.predicted, item.observed), "finetuned", f"{says} ({interval(vars(item))})")
    most = max([1, *(count for pair in spread for count in pair)])
    below = Frame(44, 392, 400, 56, (0, 1), (-most, most))
    for place, (positive, negative) in enumerate(spread):
        x = (place + 0.5) / len(spread)
        for count, cls in ((positive, "spike finetuned"), (-negative, "spike plain")):
            if count:
                below.segment((x, 0), (x, count), cls)
    below.segment((0, 0), (1, 0), "axis")
    for value in UNIT_TICKS:
        below.text(below.x(value), 466, f"{value:g}", "tick mid")
    below.text(below.x(0.5), 486, "Predicted probability", "axis-title mid")
    pairs = ", ".join(f"{item.predicted:.2f} predicted: {item.observed:.2f} observed" for item in bins)
    parts = [*frame.parts, *below.parts]
    return picture("reliability", 460, 492, "Reliability on the test patients", pairs or "No figures.", parts)


@dataclass(frozen=True)
class Epoch:
    """One row of history.csv; NaN where it holds no figure."""

    phase: str
    train_loss: float
    val_auroc: float


def training(histories: Mapping[str, Sequence[Epoch]]) -> list[Markup]:
    """Validation AUROC and training loss by epoch, with the phases of fine-tuning."""
    longest = max([2, *(len(epochs) for epochs in histories.values())])
    aurocs = {model: [epoch.val_auroc for epoch in each] for model, each in histories.items()}
    losses = {model: [epoch.train_loss for epoch in each] for model, each in histories.items()}
    phases = [epoch.phase for epoch in histories.get("finetuned", [])]
    starts = [i for i, phase in enumerate(phases) if i == 0 or phase != phases[i - 1]]
    drawn = []
    for name, title, values, best in (
        ("training-auroc", "Validation AUROC", aurocs, max),
        ("training-loss", "Training loss", losses, min),
    ):
        frame = _curves(longest, values, title)
        for start in starts:
            x = frame.x(start + 0.5)
            if start:
                frame.parts.append(tag("line", x1=x, y1=frame.top, x2=x, y2=frame.top + frame.height, cls="phase"))
            frame.text(x + 4, frame.top - 4, phases[start], "tick")
        known = {model: [value for value in each if math.isfinite(value)] for model, each in values.items()}
        said = [f"{MODELS[model]} {best(each):.2f}" for model, each in known.items() if each]
        words = f"Best {title.lower().replace('auroc', 'AUROC')}: {', '.join(said) or 'undefined'}"
        drawn.append(picture(name, 460, 306, f"{title} by epoch", words, frame.parts))
    return drawn


def _curves(epochs: int, values: Mapping[str, Sequence[float]], title: str) -> Frame:
    """One panel of the training curves."""
    known = [value for series in values.values() for value in series if math.isfinite(value)] or [0.0, 1.0]
    margin = max(0.08 * (max(known) - min(known)), 0.01)
    frame = Frame(48, 52, 396, 208, (0.5, epochs + 0.5), (min(known) - margin, max(known) + 2 * margin))
    frame.grid([tick for tick in ticks(1, epochs, 8) if tick == int(tick)], ticks(*frame.y_range))
    frame.titles("Epoch", title, lift=30)
    for model, series in reversed(list(values.items())):
        points = [(i, value) for i, value in enumerate(series, start=1) if math.isfinite(value)]
        frame.line(points, model)
        for i, value in points:
            frame.dot((i, value), f"{model} small", f"{MODELS[model]}, epoch {i}: {value:.3f}", radius=2.5)
    return frame
