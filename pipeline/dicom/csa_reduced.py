"""Siemens's CSA image header (0029,xx10), made anew with the few numbers that a mosaic cannot be read without.

The header holds UIDs, dates and free text beside them, so nothing is cut out of it: numbers are read, checked, and put
into a new one. Its form is `SV10`, whichever of the two it was read from (see `csa.py`).
"""

from __future__ import annotations

import re
from types import MappingProxyType

from pipeline.dicom import csa

#: What stays, with the VR and Siemens's number for it, as scanners write them. Without the slice normal, the order of a
#: mosaic's slices is anybody's guess.
KEPT = MappingProxyType(
    {
        "NumberOfImagesInMosaic": (b"US", 10),
        "SliceNormalVector": (b"FD", 4),
        "PhaseEncodingDirectionPositive": (b"IS", 6),
        "BandwidthPerPixelPhaseEncode": (b"FD", 4),
        "ProtocolSliceNumber": (b"IS", 6),
        "B_value": (b"IS", 6),
        "DiffusionGradientDirection": (b"FD", 4),
        "B_matrix": (b"FD", 4),
    }
)

_MARK, _CHECK = csa.NEW + b"\x04\x03\x02\x01", 77

#: Scanners write at least so many items for each element, empty ones at the end, and readers count on it.
_LEAST_ITEMS = 6

#: Too short for a date.
_NUMBER = re.compile(r"[-+]?\d{1,6}(\.\d{1,12})?([eE][-+]?\d{1,3})?")


def reduced(content: bytes) -> bytes | None:
    """The header with `KEPT` alone, numbers alone; None where it is none, or holds none of them or something else."""
    found = csa.values(content, frozenset(KEPT))
    kept = [(name, found[name]) for name in KEPT if found.get(name)]
    if not kept or not all(_NUMBER.fullmatch(value) for _, values in kept for value in values):
        return None
    parts = [_MARK, csa.COUNT.pack(len(kept), _CHECK)]
    for name, values in kept:
        items = [*values, *[""] * (_LEAST_ITEMS - len(values))]
        parts.append(csa.ELEMENT.pack(name.encode(), len(values), *KEPT[name], len(items), _CHECK))
        parts.extend(_item(value) for value in items)
    whole = b"".join(parts)
    return whole + bytes(len(whole) % 2)


def _item(value: str) -> bytes:
    text = value.encode() + b"\0" if value else b""
    return csa.VALUE.pack(len(text), len(text), _CHECK, len(text)) + text + bytes(-len(text) % 4)
