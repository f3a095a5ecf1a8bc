"""The picture of a summary: the notice, the answers, the slices that weighed most, and what answered."""

from __future__ import annotations

import textwrap
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageDraw, ImageFont

from deploy.box.answered import Answered
from deploy.box.report import NOTICE, SERIES_NUMBER
from deploy.box.said import Line, lines, place, plain
from pipeline.targets import Targets

#: In pixels: of the page, about it, and of a slice.
WIDTH, MARGIN, SLICE = 1024, 32, 232
#: More answers than these are in the report alone.
MOST_LINES = 8
_BLACK, _PANEL, _RULE = (8, 10, 13), (20, 24, 30), (60, 68, 78)
_WHITE, _GREY, _AMBER, _BLUE = (240, 243, 246), (160, 170, 181), (255, 190, 61), (92, 164, 240)
#: The overlay goes from clear through the first to the second, which grey slices do not hold.
_WARM, _HOT = np.array([236.0, 92.0, 32.0]), np.array([255.0, 226.0, 96.0])
_OPACITY = 0.75


@dataclass(frozen=True)
class Picture:
    """A key slice.

    Attributes:
        sop_instance_uid, frame: of the image; frame None: it has one.
        pixels: uint8 (size, size), as the network saw it.
        scores: (K,), what the calibrator says of this slice alone.
        saliency: float32 (K, h, w), by how much each place raised the logit of a class; None where the graph has none.
    """

    sop_instance_uid: str
    frame: int | None
    pixels: npt.NDArray[np.uint8]
    scores: tuple[float, ...]
    saliency: npt.NDArray[np.float32] | None


class _Page:
    """A page that is written from its head on; `y` is how far."""

    def __init__(self, height: int) -> None:
        self.image = Image.new("RGB", (WIDTH, height), _BLACK)
        self.draw, self.y = ImageDraw.Draw(self.image), 0

    def text(self, x: int, words: str, size: int, fill: tuple[int, int, int] = _WHITE, bold: bool = False) -> None:
        """At `x` of this line; the font has one weight, and ASCII alone."""
        font = ImageFont.load_default(size)
        self.draw.text((x, self.y), plain(words), font=font, fill=fill, stroke_width=int(bold), stroke_fill=fill)


def drawn(answered: Answered, pictures: Sequence[Picture]) -> Image.Image:
    """The page, RGB; as high as it takes."""
    page = _Page(4_096)
    _head(page, answered)
    # A study of many series that the release does not take still shows first what it says of the others.
    said = sorted(lines(answered), key=lambda line: line.probability is None)
    for line in said[:MOST_LINES]:
        _answer(page, line)
    if len(said) > MOST_LINES:
        page.text(
            MARGIN, f"{len(said) - MOST_LINES} more answers: see the report in series {SERIES_NUMBER}.", 20, _GREY
        )
        page.y += 36
    if pictures:
        _slices(page, answered, pictures)
    _foot(page, answered)
    return page.image.crop((0, 0, WIDTH, page.y))


def _head(page: _Page, answered: Answered) -> None:
    page.draw.rectangle((0, 0, WIDTH, 84), fill=_AMBER)
    page.y = 18
    page.text(MARGIN, NOTICE, 46, _BLACK, bold=True)
    page.y = 104
    page.text(MARGIN, f"{answered.manifest.name} {answered.manifest.version}"[:48], 32, bold=True)
    page.draw.rectangle((WIDTH - MARGIN - 190, page.y, WIDTH - MARGIN, page.y + 40), outline=_AMBER, width=2)
    page.text(WIDTH - MARGIN - 174, "UNVERIFIED", 27, _AMBER)
    page.y += 54
    task = answered.manifest.task
    asked = f"Asked: {task.target}, on {answered.manifest.selection.domain}; an answer for each {task.label_level}."
    for line in textwrap.wrap(asked, 88)[:3]:
        page.text(MARGIN, line, 22, _GREY)
        page.y += 29
    page.text(MARGIN, "Answered by a program; nobody has looked at it.", 22, _GREY)
    page.y += 46


def _answer(page: _Page, line: Line) -> None:
    """One panel: the number large, a bar with the threshold on it, the decision in words."""
    told = textwrap.wrap(line.told, 84)[:3] if line.probability is None else [line.told]
    height = 110 + 28 * len(told) if line.probability is None else 122
    page.draw.rectangle((MARGIN, page.y, WIDTH - MARGIN, page.y + height), fill=_PANEL)
    colour = _AMBER if line.positive else _BLUE if line.probability is not None else _GREY
    page.draw.rectangle((MARGIN, page.y, MARGIN + 6, page.y + height), fill=colour)
    top, left = page.y, MARGIN + 28
    page.y = top + 14
    page.text(left, line.about[:72], 25)
    page.y = top + 54
    if line.probability is None:
        page.text(left, "No answer", 36, bold=True)
        page.y += 46
        for words in told:
            page.text(left, words, 22, _GREY)
            page.y += 28
    else:
        page.text(left, f"{line.probability:.3f}", 44, colour, bold=True)
        page.y = top + 54
        page.text(left + 130, line.told, 22)
        _bar(page, left + 130, top + 90, line.probability, line.threshold)
    page.y = top + height + 14


def _bar(page: _Page, x: int, y: int, probability: float, threshold: float | None) -> None:
    """From 0 to 1, with a mark and a number at the threshold."""
    width = WIDTH - MARGIN - 170 - x
    page.draw.rectangle((x, y, x + width, y + 12), fill=_RULE)
    page.draw.rectangle((x, y, x + round(width * probability), y + 12), fill=_WHITE)
    if threshold is not None:
        at = x + round(width * threshold)
        page.draw.rectangle((at - 2, y - 6, at + 2, y + 18), fill=_AMBER)
        page.y = y - 6
        page.text(x + width + 14, f"threshold {threshold:.3f}", 18, _AMBER)


def _slices(page: _Page, answered: Answered, pictures: Sequence[Picture]) -> None:
    """Pairs of a slice and its overlay, two pairs a row."""
    page.y += 6
    page.text(
        MARGIN, "Slices of the highest scores, as the network saw them; beside each, what raised its score.", 20, _GREY
    )
    page.y += 36
    names = Targets(answered.manifest.task.kind, tuple(answered.manifest.task.classes)).named
    peaks = [float(each.saliency.max()) for each in pictures if each.saliency is not None]
    top, gap = page.y, WIDTH - 2 * MARGIN - 4 * SLICE - 8
    for number, each in enumerate(pictures):
        x, page.y = MARGIN + number % 2 * (2 * SLICE + 4 + gap), top + number // 2 * (SLICE + 48)
        shown = int(np.argmax(each.scores))
        page.draw.rectangle((x - 1, page.y - 1, x + 2 * SLICE + 4, page.y + SLICE), outline=_RULE)
        page.image.paste(_grey(each.pixels), (x, page.y))
        if each.saliency is not None:
            mixed = _overlay(_grey(each.pixels), each.saliency[shown], max([*peaks, 1e-12]))
            page.image.paste(mixed, (x + SLICE + 4, page.y))
        page.y += SLICE + 6
        name = f"{names[shown]}, " if len(names) > 1 else ""
        page.text(x, f"{_where(answered, each)}: {name}score {each.scores[shown]:.3f}", 20)
    page.y = top + (len(pictures) + 1) // 2 * (SLICE + 48) + 4


def _grey(pixels: npt.NDArray[np.uint8]) -> Image.Image:
    return Image.fromarray(pixels).resize((SLICE, SLICE), Image.Resampling.BICUBIC).convert("RGB")


def _overlay(image: Image.Image, saliency: npt.NDArray[np.float32], peak: float) -> Image.Image:
    """The more a place raised the score, the more opaque; `peak` is the most of all slices that are shown."""
    strength = Image.fromarray(np.clip(np.nan_to_num(saliency) / peak, 0, 1).astype(np.float32))
    share = np.clip(np.asarray(strength.resize(image.size, Image.Resampling.BICUBIC)), 0, 1)[..., np.newaxis]
    colour, opacity = _WARM + (_HOT - _WARM) * share, _OPACITY * share
    return Image.fromarray(np.round(np.asarray(image) * (1 - opacity) + colour * opacity).astype(np.uint8))


def _where(answered: Answered, picture: Picture) -> str:
    """Series and image by their numbers, as a viewer shows them."""
    for image in answered.images:
        if image.SOPInstanceUID == picture.sop_instance_uid:
            number = image.get("InstanceNumber")
            said = [place(answered, image.SeriesInstanceUID), "" if number is None else f"image {number}"]
            return ", ".join(part for part in said if part) + (f", frame {picture.frame}" if picture.frame else "")
    return "Image"


def _foot(page: _Page, answered: Answered) -> None:
    page.draw.line((MARGIN, page.y, WIDTH - MARGIN, page.y), fill=_RULE, width=1)
    page.y += 14
    for words in (
        f"Release {answered.manifest.name} {answered.manifest.version}, SHA-256 of its SHA256SUMS",
        answered.release_sha256,
        f"Graph SHA-256 {answered.manifest.graph.sha256}",
        f"Run by {answered.backend}, on {len(answered.images)} objects, {datetime.now(UTC):%Y-%m-%d %H:%M} UTC",
        f"The same as codes and numbers: the structured report in series {SERIES_NUMBER}",
    ):
        page.text(MARGIN, words, 18, _GREY)
        page.y += 25
    page.y += 12
    page.draw.rectangle((0, page.y, WIDTH, page.y + 44), fill=_AMBER)
    page.y += 9
    page.text(MARGIN, NOTICE, 26, _BLACK)
    page.y += 35
