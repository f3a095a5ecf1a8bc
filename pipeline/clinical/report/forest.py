"""Forest plots as tables: each interval drawn in a cell of its own, so that a phone can fold the rows."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from markupsafe import Markup

from pipeline.clinical.report.svg import Frame, minus, tag, ticks

_WIDTH, _HEIGHT = 200.0, 22.0


@dataclass(frozen=True)
class Interval:
    """A row: its name, the class of its colour, and the figure with its interval."""

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


@dataclass(frozen=True)
class Forest:
    """Rows on one scale.

    Attributes:
        rows: figures with their intervals.
        reference: the value that means nothing (0 for a difference) or that all rows are compared with.
        within: the ends of the scale.
    """

    rows: tuple[Interval, ...]
    reference: float
    within: tuple[float, float]

    def bar(self, row: Interval) -> Markup:
        """The drawing of one row; its numbers stand beside it in words."""
        frame = self._frame()
        if math.isfinite(self.reference):
            frame.segment((self.reference, 0), (self.reference, 1), "reference")
        if math.isfinite(row.low):
            frame.segment((row.low, 0.5), (row.high, 0.5), f"whisker {row.cls}")
        if math.isfinite(row.value):
            frame.dot((row.value, 0.5), row.cls, f"{row.name}: {row.figure}", radius=4.5)
        return _hidden(frame)

    def axis(self) -> Markup:
        """The numbers of the scale, for the head or the foot of the table."""
        frame = self._frame()
        marks = [value for value in ticks(*self.within, about=3) if self.within[0] <= value <= self.within[1]]
        for value in marks:
            frame.text(frame.x(value), 14, minus(f"{value:g}"), "tick mid")
        return _hidden(frame)

    def _frame(self) -> Frame:
        return Frame(12, 0, _WIDTH - 24, _HEIGHT, self.within, (0, 1))


def forest(rows: Sequence[Interval], reference: float, within: tuple[float, float] | None = None) -> Forest:
    """Rows on a scale that holds them all and the reference; a share's scale ends at 1."""
    known = [bound for row in rows for bound in (row.value, row.low, row.high) if math.isfinite(bound)]
    if within is None:
        known += [reference] if math.isfinite(reference) else [0.0, 1.0]
        low, high = min(known), max(known)
        margin = max(0.06 * (high - low), 0.02)
        within = (low - margin, high + margin)
    return Forest(tuple(rows), reference, within)


def _hidden(frame: Frame) -> Markup:
    return tag(
        "svg", Markup("").join(frame.parts), viewBox=f"0 0 {_WIDTH:g} {_HEIGHT:g}", aria_hidden="true", cls="row"
    )
