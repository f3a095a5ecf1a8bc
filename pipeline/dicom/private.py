"""Vendors' private elements, for what the standard is silent on: found by creator (PS3.5 7.8.1), never trusted."""

from __future__ import annotations

import math
import struct
from collections.abc import Iterable
from typing import Any, NamedTuple

from pipeline.dicom.values import DAMAGED, UNREADABLE

#: Blocks that reading looks for a creator in; writers reserve the lowest that is free.
BLOCKS = range(0x10, 0x18)

#: A value of VR UN holds the number as text or as little-endian float64, float32 or integers of these sizes.
_BINARY = {8: "<d", 4: "<f", 2: "<H"}


class Private(NamedTuple):
    """An element by the name that its creator reserved."""

    creator: str
    group: int
    element: int


SIEMENS_MOSAIC_COUNT = Private("SIEMENS MR HEADER", 0x0019, 0x0A)
SIEMENS_B_VALUE = Private("SIEMENS MR HEADER", 0x0019, 0x0C)
SIEMENS_DIRECTION = Private("SIEMENS MR HEADER", 0x0019, 0x0E)
SIEMENS_MOSAIC_TIMES = Private("SIEMENS MR HEADER", 0x0019, 0x29)
SIEMENS_CSA_IMAGE = Private("SIEMENS CSA HEADER", 0x0029, 0x10)
GE_DIRECTION = tuple(Private("GEMS_ACQU_01", 0x0019, element) for element in (0xBB, 0xBC, 0xBD))
GE_COMPONENT = Private("GEMS_PARM_01", 0x0043, 0x2F)
GE_B_VALUE = Private("GEMS_PARM_01", 0x0043, 0x39)
UIH_B_VALUE = Private("Image Private Header", 0x0065, 0x09)
UIH_DIRECTION = Private("Image Private Header", 0x0065, 0x37)
UIH_TILES = Private("Image Private Header", 0x0065, 0x51)
PHILIPS_B_VALUE = Private("Philips Imaging DD 001", 0x2001, 0x03)
PHILIPS_DIRECTION = tuple(Private("Philips MR Imaging DD 001", 0x2005, element) for element in (0xB0, 0xB1, 0xB2))
PHILIPS_LABEL = Private("Philips MR Imaging DD 005", 0x2005, 0x29)
#: In an enhanced file, one item a frame with what the classic file of that frame would hold.
PHILIPS_FRAME = Private("Philips MR Imaging DD 005", 0x2005, 0x0F)
PHILIPS_SCALE_SLOPE = Private("Philips MR Imaging DD 001", 0x2005, 0x0E)

_ALL = [
    *(SIEMENS_MOSAIC_COUNT, SIEMENS_B_VALUE, SIEMENS_DIRECTION, SIEMENS_MOSAIC_TIMES, SIEMENS_CSA_IMAGE),
    *(*GE_DIRECTION, GE_COMPONENT, GE_B_VALUE, PHILIPS_B_VALUE, *PHILIPS_DIRECTION, PHILIPS_LABEL),
    *(PHILIPS_SCALE_SLOPE, UIH_B_VALUE, UIH_DIRECTION, UIH_TILES),
]

#: Tags of the elements and of their creators, in every block.
TAGS = sorted(
    {(place.group << 16) + block for place in _ALL for block in BLOCKS}
    | {(place.group << 16) + (block << 8) + place.element for place in _ALL for block in BLOCKS}
)


def creators(dataset: Any) -> list[tuple[int, str]]:
    """The elements of a data set that reserve a block (PS3.5 7.8.1), each with the creator it names, in their order."""
    tags = sorted(int(tag) for tag in dataset.keys() if tag >> 16 & 1 and 0x10 <= tag & 0xFFFF <= 0xFF)  # noqa: SIM118
    return [(tag, _creator(dataset, tag)) for tag in tags]


class Elements:
    """The private elements of a data set, by the blocks that its creators reserved."""

    def __init__(self, dataset: Any) -> None:
        self._dataset = dataset
        self._blocks: dict[tuple[str, int], int] = {}
        for tag, creator in creators(dataset):
            self._blocks.setdefault((creator, tag >> 16), tag & 0xFFFF)

    def value(self, place: Private) -> Any:
        """The value of an element; None where it is missing or damaged."""
        block = self._blocks.get((place.creator, place.group))
        if block is None:
            return None
        try:
            element = self._dataset.get((place.group, (block << 8) + place.element))
        except DAMAGED:
            return None
        return None if element is None else element.value

    def numbers(self, place: Private) -> tuple[float, ...]:
        """The finite numbers of an element, whatever VR it was written with; empty where there are none."""
        if (place.creator, place.group) not in self._blocks:
            return ()
        try:
            return tuple(number for number in map(float, _parts(self.value(place))) if math.isfinite(number))
        except (ValueError, TypeError, struct.error, OverflowError):
            return ()

    def number(self, place: Private) -> float | None:
        """The first number of an element, or None."""
        found = self.numbers(place)
        return found[0] if found else None


def _creator(dataset: Any, tag: int) -> str:
    try:
        return str(dataset[tag].value).strip()
    except UNREADABLE:
        return ""


def _parts(found: Any) -> Iterable[Any]:
    """The single values of an element as pydicom gives them."""
    if found is None or found == "":
        return ()
    if isinstance(found, bytes):
        text = found.strip(b" \0")
        if text and not text.strip(b"0123456789+-.eE\\ "):
            return text.decode("ascii").split("\\")
        return struct.unpack(_BINARY[len(found)], found) if len(found) in _BINARY else _doubles(found)
    return [found] if isinstance(found, str) or not isinstance(found, Iterable) else found


def _doubles(found: bytes) -> tuple[float, ...]:
    return struct.unpack(f"<{len(found) // 8}d", found)
