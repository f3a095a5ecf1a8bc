"""The charts of the report, from numbers to inline SVG."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from markupsafe import Markup

from pipeline.clinical.curves import Bin, Roc
from pipeline.clinical.report.svg import Frame, minus, picture, tag, ticks

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


def reliability(bins: Sequence[Bin], observed: str = "Observed share of positives") -> Markup:
    """Observed share of positives against predicted probability."""
    frame = Frame(44, 40, 400, 340, (0, 1), (0, 1))
    frame.grid(UNIT_TICKS, UNIT_TICKS)
    frame.titles("Predicted probability (mean of a bin)", observed)
    frame.segment((0, 0), (1, 1), "chance")
    for item in bins:
        frame.segment((item.predicted, item.low), (item.predicted, item.high), "whisker finetuned")
    frame.line([(item.predicted, item.observed) for item in bins], "finetuned thin")
    for item in bins:
        says = f"{item.n} units: predicted {item.predicted:.2f}, observed {item.observed:.2f}"
        frame.dot((item.predicted, item.observed), "finetuned", f"{says} ({item.low:.2f} to {item.high:.2f})")
    pairs = ", ".join(f"{item.predicted:.2f} predicted: {item.observed:.2f} observed" for item in bins)
    return picture("reliability", 460, 424, "Reliability on the test patients", pairs or "No figures.", frame.parts)


@dataclass(frozen=True)
class Interval:
    """A row of the forest plot: its name, the class of its colour, and the figure with its interval."""

    name: str
    cls: str
    value: float
    low: float
    high: float

    @property
    def figure(self) -> str:
        """`0.89 (0.81 to 0.95)`, as far as it is defined."""
        if not math.isfinite(self.value):
            return "undefined"
        if not math.isfinite(self.low):
            return minus(f"{self.value:.2f} (no interval)")
        return minus(f"{self.value:.2f} ({self.low:.2f} to {self.high:.2f})")


def forest(name: str, rows: Sequence[Interval], reference: float, title: str) -> Markup:
    """Figures and their intervals below each other, with a line at the value that means `nothing`."""
    known = [bound for row in rows for bound in (row.value, row.low, row.high) if math.isfinite(bound)]
    low, high = min([*known, reference]), max([*known, reference])
    margin = max(0.06 * (high - low), 0.02)
    frame = Frame(200, 8, 480, 40.0 * len(rows), (low - margin, high + margin), (len(rows), 0))
    bottom = frame.top + frame.height
    for value in ticks(*frame.x_range, about=8):
        frame.segment((value, 0), (value, len(rows)), "grid")
        frame.text(frame.x(value), bottom + 18, minus(f"{value:g}"), "tick mid")
    frame.segment((reference, 0), (reference, len(rows)), "reference")
    for position, row in enumerate(rows):
        middle = position + 0.5
        frame.text(0, frame.y(middle) + 4, row.name, "label")
        if math.isfinite(row.low):
            frame.segment((row.low, middle), (row.high, middle), f"whisker {row.cls}")
        if math.isfinite(row.value):
            frame.dot((row.value, middle), row.cls, f"{row.name}: {row.figure}", radius=6)
        frame.text(700, frame.y(middle) + 4, row.figure, "label figure")
    return picture(name, 860, bottom + 28, title, "; ".join(f"{row.name}: {row.figure}" for row in rows), frame.parts)


@dataclass(frozen=True)
class Epoch:
    """One row of history.csv; NaN where it holds no figure."""

    phase: str
    train_loss: float
    val_auroc: float


def training(histories: Mapping[str, Sequence[Epoch]]) -> Markup:
    """Validation AUROC and training loss by epoch, with the phases of fine-tuning."""
    longest = max([2, *(len(epochs) for epochs in histories.values())])
    left = _curves(48, longest, {m: [e.val_auroc for e in h] for m, h in histories.items()}, "Validation AUROC")
    right = _curves(500, longest, {m: [e.train_loss for e in h] for m, h in histories.items()}, "Training loss")
    phases = [epoch.phase for epoch in histories.get("finetuned", [])]
    starts = [i for i, phase in enumerate(phases) if i == 0 or phase != phases[i - 1]]
    for frame in (left, right):
        for start in starts:
            if start:
                x = frame.x(start + 0.5)
                frame.parts.append(tag("line", x1=x, y1=frame.top, x2=x, y2=frame.top + frame.height, cls="phase"))
            frame.text(frame.x(start + 0.5) + 4, frame.top - 4, phases[start], "tick")
    known = {model: [e.val_auroc for e in each if math.isfinite(e.val_auroc)] for model, each in histories.items()}
    best = [f"{MODELS[model]} {max(values):.2f}" for model, values in known.items() if values]
    words = f"Best validation AUROC: {', '.join(best) or 'undefined'}"
    return picture("training", 900, 306, "Training curves", words, [*left.parts, *right.parts])


def _curves(left: float, epochs: int, values: Mapping[str, Sequence[float]], title: str) -> Frame:
    """One panel of the training curves."""
    known = [value for series in values.values() for value in series if math.isfinite(value)] or [0.0, 1.0]
    margin = max(0.08 * (max(known) - min(known)), 0.01)
    frame = Frame(left, 52, 390, 208, (0.5, epochs + 0.5), (min(known) - margin, max(known) + 2 * margin))
    frame.grid([tick for tick in ticks(1, epochs, 8) if tick == int(tick)], ticks(*frame.y_range))
    frame.titles("Epoch", title, lift=30)
    for model, series in reversed(list(values.items())):
        points = [(i, value) for i, value in enumerate(series, start=1) if math.isfinite(value)]
        frame.line(points, model)
        for i, value in points:
            frame.dot((i, value), f"{model} small", f"{MODELS[model]}, epoch {i}: {value:.3f}", radius=2.5)
    return frame
