"""Inline SVG from numbers: elements, scales and axes. Colours are classes of style.css, for light, dark and print."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from markupsafe import Markup, escape

Point = tuple[float, float]


def tag(name: str, content: str = "", **attributes: str | float) -> Markup:
    """One element; `content` and attributes are escaped unless they are Markup. `cls` is class, `_` becomes `-`."""
    names = {key: "class" if key == "cls" else key.replace("_", "-") for key in attributes}
    pairs = (Markup(' {}="{}"').format(names[key], _number(value)) for key, value in attributes.items())
    return Markup("<{}{}>{}</{}>").format(name, Markup("").join(pairs), escape(content), name)


def _number(value: str | float) -> str:
    """Coordinates to a tenth of a pixel, so that equal figures give equal bytes."""
    return value if isinstance(value, str) else f"{value:.1f}".removesuffix(".0")


def minus(text: str) -> str:
    """`text` with true minus signs, which a reader takes in faster than hyphens."""
    return text.replace("-", "\N{MINUS SIGN}")


def picture(name: str, width: float, height: float, title: str, description: str, parts: Iterable[Markup]) -> Markup:
    """A whole drawing; `title` and `description` are what a screen reader says instead of it."""
    words = tag("title", title, id=f"{name}-title") + tag("desc", description, id=f"{name}-desc")
    return tag(
        "svg",
        words + Markup("").join(parts),
        viewBox=f"0 0 {width:g} {height:g}",
        role="img",
        aria_labelledby=f"{name}-title {name}-desc",
    )


def ticks(low: float, high: float, about: int = 5) -> list[float]:
    """Round values within low..high: steps of 1, 2 or 5 times a power of ten, some `about` of them."""
    raw = (high - low) / about
    power = 10.0 ** math.floor(math.log10(raw))
    step = next(factor * power for factor in (1, 2, 5, 10) if factor * power >= raw * 0.999)
    first = math.ceil(low / step - 1e-9)
    return [round(k * step, 10) for k in range(first, math.floor(high / step + 1e-9) + 1)]


@dataclass
class Frame:
    """A plotting area in a drawing: data to pixels, and what was drawn so far.

    Attributes:
        left, top, width, height: of the area, in pixels.
        x_range, y_range: data at its edges.
    """

    left: float
    top: float
    width: float
    height: float
    x_range: tuple[float, float]
    y_range: tuple[float, float]
    parts: list[Markup] = field(default_factory=list)

    def x(self, value: float) -> float:
        """Pixel of a value on the x axis."""
        low, high = self.x_range
        return self.left + (value - low) / (high - low) * self.width

    def y(self, value: float) -> float:
        """Pixel of a value on the y axis."""
        low, high = self.y_range
        return self.top + (high - value) / (high - low) * self.height

    def grid(self, x_ticks: Sequence[float], y_ticks: Sequence[float]) -> None:
        """Hairlines and their numbers."""
        right, bottom = self.left + self.width, self.top + self.height
        for value in y_ticks:
            self.segment((self.x_range[0], value), (self.x_range[1], value), "grid")
            self.text(self.left - 8, self.y(value) + 4, f"{value:g}", "tick end")
        for value in x_ticks:
            self.text(self.x(value), bottom + 18, f"{value:g}", "tick mid")
        self.parts.append(tag("line", x1=self.left, y1=bottom, x2=right, y2=bottom, cls="axis"))

    def titles(self, x_title: str, y_title: str, lift: float = 14) -> None:
        """What the axes show; the y title stands `lift` pixels above the area, so that no one tilts the head."""
        self.text(self.left + self.width / 2, self.top + self.height + 38, x_title, "axis-title mid")
        self.text(self.left - 30, self.top - lift, y_title, "axis-title")

    def text(self, x: float, y: float, content: str, cls: str) -> None:
        """Text at a pixel."""
        self.parts.append(tag("text", content, x=x, y=y, cls=cls))

    def segment(self, start: Point, end: Point, cls: str) -> None:
        """A straight line between two points of the data."""
        (x1, y1), (x2, y2) = start, end
        self.parts.append(tag("line", x1=self.x(x1), y1=self.y(y1), x2=self.x(x2), y2=self.y(y2), cls=cls))

    def line(self, points: Iterable[Point], cls: str) -> None:
        """A line through points of the data."""
        path = " ".join(f"{self.x(x):.1f},{self.y(y):.1f}" for x, y in points)
        self.parts.append(tag("polyline", points=path, cls=f"line {cls}"))

    def band(self, points: Iterable[tuple[float, float, float]], cls: str) -> None:
        """The area between two bounds, (x, low, high) from left to right; what is not finite is left out."""
        inside = [point for point in points if all(map(math.isfinite, point))]
        if len(inside) > 1:
            around = [(x, high) for x, _, high in inside] + [(x, low) for x, low, _ in reversed(inside)]
            path = " ".join(f"{self.x(x):.1f},{self.y(y):.1f}" for x, y in around)
            self.parts.append(tag("polygon", points=path, cls=f"band {cls}"))

    def dot(self, point: Point, cls: str, says: str, radius: float = 5) -> None:
        """A point of the data that says its numbers when pointed at."""
        x, y = point
        self.parts.append(tag("circle", tag("title", says), cx=self.x(x), cy=self.y(y), r=radius, cls=f"dot {cls}"))
