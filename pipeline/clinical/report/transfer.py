"""The report's section on transfer: its verdict, its three indicators, their drawing, and the budgets."""

from __future__ import annotations

import math
from typing import Any

from markupsafe import Markup

from pipeline.clinical.evaluation import Evaluation
from pipeline.clinical.indicators import Comparison, Indicators
from pipeline.clinical.report.svg import Frame, minus, picture, ticks
from pipeline.clinical.verdict import transfer_verdict

#: The verdict in a word or two; None: undefined.
BADGES = {"positive": "Positive transfer", "neutral": "Neutral", "negative": "Negative transfer", None: "Undefined"}
NAMES = {"finetuned": "Fine-tuned", "scratch": "From scratch"}
_SI = ((1e9, "G"), (1e6, "M"), (1e3, "k"))


def section(found: Evaluation, learned: Indicators) -> dict[str, Any]:
    """What transfer.html.j2 asks for."""
    return {
        "badge": BADGES[transfer_verdict(found.difference)],
        "rows": rows(found, learned),
        "chart": chart(learned),
        "budgets": budgets(learned),
        "less": less(learned),
    }


def rows(found: Evaluation, learned: Indicators) -> list[dict[str, str]]:
    """The indicators as rows of a table, the last being the one that the verdict stands on."""
    test = {name: float(found.figures[name]["auroc"]["value"]) for name in NAMES}
    decided = Comparison(test["finetuned"], test["scratch"], found.difference)
    reached = f"; reached in {learned.reached:.0%} of the resamples" if math.isfinite(learned.reached) else ""
    until = f"until AUROC {_two(learned.level)}, the control's best{reached}"
    return [
        _auroc("Head start", "AUROC before the trunk learnt", learned.head_start),
        _threshold("Time to threshold, trunk work", until, learned.sooner["passes"]),
        _threshold(
            "The same in slices learnt from", "with those that only the head learnt from", learned.sooner["slices"]
        ),
        _threshold("The same in epochs", "with those of the head alone", learned.sooner["epochs"]),
        _auroc("Final level, validation", "AUROC of the epoch that was kept", learned.final),
        _auroc("Final level, test", "AUROC on test patients: the verdict", decided),
    ]


def _auroc(name: str, what: str, of: Comparison) -> dict[str, str]:
    gain = of.gain
    known = math.isfinite(gain.low) and math.isfinite(gain.high)
    return {
        "name": name,
        "what": what,
        "finetuned": _two(of.finetuned),
        "scratch": _two(of.scratch),
        "gain": minus(f"{gain.value:+.2f}") if math.isfinite(gain.value) else "undefined",
        "interval": minus(f"{gain.low:+.2f} to {gain.high:+.2f}") if known else gain.reason or "no interval",
    }


def _threshold(name: str, what: str, of: Comparison) -> dict[str, str]:
    gain = of.gain
    if math.isnan(gain.low):
        interval = gain.reason or "no interval"
    else:
        low, high = (_factor(bound) for bound in (gain.low, gain.high))
        interval = low if low == high else f"{low} to {high}"
    return {
        "name": name,
        "what": what,
        "finetuned": _amount(of.finetuned),
        "scratch": _amount(of.scratch),
        "gain": times(of),
        "interval": interval,
    }


def times(of: Comparison) -> str:
    """How much sooner the fine-tuned network was there, in words."""
    ratio = of.gain.value
    if math.isinf(of.finetuned) and math.isfinite(of.scratch):
        return "never there"
    if math.isnan(ratio):
        return "undefined"
    if math.isinf(ratio):
        return "at no work"
    return (
        f"{ratio:.1f}\N{MULTIPLICATION SIGN} sooner" if ratio >= 1 else f"{1 / ratio:.1f}\N{MULTIPLICATION SIGN} later"
    )


def _factor(ratio: float) -> str:
    """A bound of the ratio, in which 0 stands for never."""
    if ratio == 0:
        return "never"
    return "\N{INFINITY}" if math.isinf(ratio) else f"{ratio:.2g}\N{MULTIPLICATION SIGN}"


def budgets(learned: Indicators) -> list[tuple[str, str, str]]:
    """What each training took: what it is, fine-tuning's, the control's."""
    own, control = (learned.curves[name].budget for name in NAMES)
    allowed = [f"{each['trunk_epochs']} of {each['allowed_trunk_epochs']} allowed" for each in (own, control)]
    return [
        ("Epochs in which the trunk learnt", allowed[0], allowed[1]),
        ("Epochs in all", str(own["epochs"]), str(control["epochs"])),
        ("Slices learnt from", _amount(own["slices"]), _amount(control["slices"])),
        ("Trunk work", _amount(own["passes"]), _amount(control["passes"])),
    ]


def less(learned: Indicators) -> str:
    """A warning where the control's budget was smaller, else nothing."""
    own, control = (learned.curves[name].budget for name in NAMES)
    allowed = [budget["allowed_trunk_epochs"] for budget in (own, control)]
    if not learned.control_had_less:
        return ""
    if allowed[1] < allowed[0]:
        return (
            f"The control was allowed fewer epochs than the fine-tuned network's trunk, {allowed[1]} of {allowed[0]}. "
            "A difference may be one of budget and not of transfer."
        )
    return (
        f"The control did less work on its trunk, {_amount(control['passes'])} of {_amount(own['passes'])}. It was "
        "allowed as many epochs, and stopped when its validation loss was clearly above the least."
    )


def _two(value: float) -> str:
    return "n/a" if math.isnan(value) else f"{value:.2f}"


def _amount(value: float) -> str:
    """A count to three digits: 940, 12.3k, 4.56M."""
    if not math.isfinite(value):
        return "never" if math.isinf(value) else "n/a"
    factor, unit = next(((factor, unit) for factor, unit in _SI if value >= factor), (1.0, ""))
    return f"{value / factor:.3g}{unit}"


def chart(learned: Indicators) -> Markup:
    """Validation AUROC by trunk work for both, with the head start, the level and the way to it."""
    aurocs = {name: [float(value) for value in learned.aurocs[name]] for name in NAMES}
    work = {name: learned.curves[name].work["passes"].tolist() for name in NAMES}
    most = max(1.0, *(values[-1] for values in work.values()))
    known = [value for values in aurocs.values() for value in values if math.isfinite(value)] or [0.0, 1.0]
    margin = max(0.06 * (max(known) - min(known)), 0.02)
    frame = Frame(48, 34, 792, 280, (-0.15 * most, 1.02 * most), (min(known) - margin, max(known) + 1.6 * margin))
    frame.grid([], ticks(*frame.y_range, about=8))
    for value in ticks(0, most, 8):
        frame.text(frame.x(value), frame.top + frame.height + 18, _amount(value) if value else "0", "tick mid")
    frame.titles(
        "Trunk work in training (passes of a slice through the trunk; a pass back counts as two)", "Validation AUROC"
    )
    _level(frame, learned)
    for name in reversed(NAMES):
        points = [(x, y) for x, y in zip(work[name], aurocs[name], strict=True) if math.isfinite(y)]
        frame.line(points, name)
        for epoch, (x, y) in enumerate(zip(work[name], aurocs[name], strict=True)):
            if math.isfinite(y):
                phase = learned.curves[name].phases[epoch]
                frame.dot((x, y), f"{name} small", f"{NAMES[name]}, epoch {epoch} ({phase}): {y:.3f}", radius=2.5)
    _ways(frame, learned)
    _start(frame, learned, -0.035 * most)
    passes = learned.sooner["passes"]
    words = (
        f"Head start: AUROC {_two(learned.head_start.finetuned)} against {_two(learned.head_start.scratch)}. The "
        f"control's best, {_two(learned.level)}, took it {_amount(passes.scratch)} of trunk work, and the fine-tuned "
        f"network {_amount(passes.finetuned)}: {times(passes)}."
    )
    return picture("learning", 860, 372, "Validation AUROC by trunk work", words, frame.parts)


def _level(frame: Frame, learned: Indicators) -> None:
    """The control's best, across all."""
    if math.isfinite(learned.level):
        low, high = frame.x_range
        frame.segment((low, learned.level), (high, learned.level), "reference")
        words = f"control's best {learned.level:.2f}"
        frame.text(frame.x(high), frame.y(learned.level) + 18, words, "tick halo end")


def _ways(frame: Frame, learned: Indicators) -> None:
    """Where either training first is at that level."""
    passes = learned.sooner["passes"]
    for name, spent in (("scratch", passes.scratch), ("finetuned", passes.finetuned)):
        if math.isfinite(spent) and math.isfinite(learned.level):
            frame.dot((spent, learned.level), f"{name} big", f"{NAMES[name]}: there after {_amount(spent)}", radius=7)


def _start(frame: Frame, learned: Indicators, x: float) -> None:
    """The head start as a bracket beside the curves."""
    low, high = learned.head_start.scratch, learned.head_start.finetuned
    if not (math.isfinite(low) and math.isfinite(high)):
        return
    frame.segment((x, low), (x, high), "whisker finetuned")
    for value in (low, high):
        frame.segment((x * 1.5, value), (x * 0.5, value), "whisker finetuned")
    middle = frame.y((low + high) / 2)
    frame.text(frame.x(x) - 12, middle - 3, "head start", "tick halo end")
    frame.text(frame.x(x) - 12, middle + 15, minus(f"{high - low:+.2f}"), "label halo end")
