"""Planes at the same positions parted into volumes: by what the header says of them, else by their order."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from pipeline.dicom import geometry
from pipeline.dicom.frames import Frame

#: An attribute parts a series when most frames come into parts that hold at least this share of the positions:
#: what changes from slice to slice (a trigger time, say) parts nothing.
COVERAGE = 0.5
#: So many volumes at least show that the last one, where slices are missing, was broken off.
BROKEN_OFF_FROM = 3

#: Fields of `Variant` that say themselves which volume a frame is of, then those that only may.
_EXPLICIT = (
    *("kind", "echo_ms", "inversion_ms", "flip_deg", "b_value", "direction", "label", "temporal", "phase"),
    *("dimensions", "form"),
)
_IMPLICIT = ("acquisition", "time")

Part = list[int]


@dataclass(frozen=True)
class Volume:
    """The planes of one volume.

    Attributes:
        planes: their places among the frames that were given, in the order of the slices.
        number: its place among the volumes of the series, from 1.
        beside: which of several stacks that stand beside one another; volumes of different ones show different anatomy.
        fault: a key of `reasons.REASONS` where the header does not tell which planes belong together, else None.
    """

    planes: tuple[int, ...]
    number: int
    beside: int = 0
    fault: str | None = None


def split(frames: Sequence[Frame]) -> list[Volume]:
    """The volumes of planes that have one orientation, magnitudes first, then by contrast and in their order in time.

    A series whose every position is there once is one volume, whatever else differs.
    """
    along = geometry.places(frames)
    order = np.argsort(along, kind="stable")
    station = np.empty(len(frames), np.int64)
    station[order] = np.cumsum(np.diff(along[order], prepend=along[order[0]]) >= geometry.SAME_POSITION_MM)
    place = np.argsort(order)
    parts: list[tuple[Part, int, str | None]] = []
    for beside, stack in enumerate(_stacks(frames, station)):
        for part in _by_attributes(stack, frames, station):
            parts.extend((each, beside, fault) for each, fault in _by_order(part, frames, station))
    parts.sort(key=lambda part: _sort_key([frames[index] for index in part[0]]))
    return [
        Volume(tuple(sorted(part, key=lambda index: int(place[index]))), number, beside, fault)
        for number, (part, beside, fault) in enumerate(parts, 1)
    ]


def _stacks(frames: Sequence[Frame], station: npt.NDArray[np.int64]) -> list[Part]:
    """Stacks that stand beside one another, as of two breasts or hips; one where nothing says so."""
    whole = [*range(len(frames))]
    aside = geometry.aside(frames)
    clusters = np.stack([_clusters(aside[:, axis]) for axis in (0, 1)], axis=1)
    smaller = _by(whole, map(tuple, clusters.tolist()))
    return smaller if _repeats(whole, station) and _covers(smaller, whole, station) else [whole]


def _clusters(values: npt.NDArray[np.float64]) -> npt.NDArray[np.int64]:
    """A number for each value; neighbours within `geometry.STACK_TOLERANCE_MM` have the same."""
    order = np.argsort(values, kind="stable")
    numbers = np.empty(len(values), np.int64)
    numbers[order] = np.cumsum(np.diff(values[order], prepend=values[order[0]]) > geometry.STACK_TOLERANCE_MM)
    return numbers


def _sort_key(frames: Sequence[Frame]) -> tuple[object, ...]:
    first = min(frames, key=lambda frame: frame.variant.sequence)
    return not first.magnitude, first.variant.contrast, first.variant.sequence


def _by_attributes(whole: Part, frames: Sequence[Frame], station: npt.NDArray[np.int64]) -> list[Part]:
    """Parts by the attributes in turn, as long as a part holds a position twice."""
    parts = [whole]
    for name in (*_EXPLICIT, *_IMPLICIT):
        accepted: Callable[..., bool] = _covers if name in _EXPLICIT else _complete
        refined: list[Part] = []
        for part in parts:
            if not _repeats(part, station):
                refined.append(part)
                continue
            smaller = _by(part, [getattr(frames[index].variant, name) for index in part])
            divides = len(smaller) > 1 and accepted(smaller, part, station)
            refined.extend(smaller if divides else [part])
        parts = refined
    return parts


def _by(part: Part, values: Iterable[Any]) -> list[Part]:
    """Parts of one value each, by rising values."""
    found: dict[Any, Part] = {}
    for index, value in zip(part, values, strict=True):
        found.setdefault(value, []).append(index)
    return [found[value] for value in sorted(found)]


def _stations(part: Part, station: npt.NDArray[np.int64]) -> int:
    return len(np.unique(station[part]))


def _repeats(part: Part, station: npt.NDArray[np.int64]) -> bool:
    return _stations(part, station) < len(part)


def _covers(smaller: list[Part], part: Part, station: npt.NDArray[np.int64]) -> bool:
    """Whether most frames come into parts with most positions, and frames at one position into different parts."""
    positions = _stations(part, station)
    within = sum(len(each) for each in smaller if _stations(each, station) >= COVERAGE * positions)
    apart = sum(_stations(each, station) for each in smaller) > positions
    return within >= COVERAGE * len(part) and apart


def _complete(smaller: list[Part], part: Part, station: npt.NDArray[np.int64]) -> bool:
    """Whether every part holds every position, but for the last of several."""
    positions = _stations(part, station)
    short = [place for place, each in enumerate(smaller) if _stations(each, station) < positions]
    return not short or (len(smaller) >= BROKEN_OFF_FROM and short == [len(smaller) - 1])


def _by_order(part: Part, frames: Sequence[Frame], station: npt.NDArray[np.int64]) -> list[tuple[Part, str | None]]:
    """Volumes in the order of InstanceNumber and FrameNumber; the whole with its fault where that does not tell."""
    if not _repeats(part, station):
        return [(part, None)]
    ordered = sorted(part, key=lambda index: frames[index].variant.order)
    blocks = _blocks(ordered, station)
    if _ordered_at_each_position(ordered, frames, station) and _complete(blocks, part, station):
        return [(block, None) for block in blocks]
    counts = np.unique(station[part], return_counts=True)[1]
    if _ordered_at_each_position(ordered, frames, station) and counts.min() == counts.max():
        return [(each, None) for each in _by(ordered, _ranks(ordered, station))]
    return [(part, "multi_volume" if counts.min() > 1 else "duplicate_slice")]


def _blocks(ordered: Part, station: npt.NDArray[np.int64]) -> list[Part]:
    """Runs without a position twice."""
    blocks: list[Part] = [[]]
    seen: set[int] = set()
    for index in ordered:
        if int(station[index]) in seen:
            blocks.append([])
            seen.clear()
        blocks[-1].append(index)
        seen.add(int(station[index]))
    return blocks


def _ranks(ordered: Part, station: npt.NDArray[np.int64]) -> list[int]:
    """Of each plane, how many of its position came before."""
    seen: dict[int, int] = {}
    ranks = []
    for index in ordered:
        ranks.append(seen.get(int(station[index]), 0))
        seen[int(station[index])] = ranks[-1] + 1
    return ranks


def _ordered_at_each_position(ordered: Part, frames: Sequence[Frame], station: npt.NDArray[np.int64]) -> bool:
    """Whether no two planes of one position have the same place in the order."""
    return len({(int(station[index]), frames[index].variant.order) for index in ordered}) == len(ordered)
