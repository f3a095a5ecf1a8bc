"""Siemens' CSA image header (0029,xx10), rebuilt with the few numbers that a mosaic cannot be read without.

The header holds UIDs, dates and free text beside them, so nothing is cut out of it: numbers are read, checked, and put
into a new one. Its form, `SV10`, is the one that nibabel documents as CSA2 ("Siemens format DICOM with CSA header");
the older one without that mark, and anything damaged, is dropped.
"""

from __future__ import annotations

import re
import struct

#: Names that stay. Without the slice normal, the order of a mosaic's slices is anybody's guess.
KEPT = (
    "NumberOfImagesInMosaic",
    "SliceNormalVector",
    "PhaseEncodingDirectionPositive",
    "BandwidthPerPixelPhaseEncode",
    "ProtocolSliceNumber",
    "B_value",
    "DiffusionGradientDirection",
    "B_matrix",
)

_MARK = b"SV10\x04\x03\x02\x01"
_TAG = struct.Struct("<64si4siii")
_ITEM = struct.Struct("<4i")
_MOST_TAGS, _MOST_ITEMS, _CHECK = 512, 4096, 77

#: Scanners write at least so many items for each tag, empty ones at the end, and readers count on it.
_LEAST_ITEMS = 6

_NUMBER = re.compile(r"[-+]?\d{1,9}(\.\d{1,12})?([eE][-+]?\d{1,3})?")

Tag = tuple[str, bytes, int, list[str]]


def reduced(content: bytes) -> bytes | None:
    """The header with `KEPT` alone, numbers alone; None where it is none, is damaged, or holds none of them."""
    try:
        kept = [tag for tag in _tags(content) if tag[0] in KEPT and tag[3]]
    except (struct.error, ValueError):
        return None
    if not kept or not all(_NUMBER.fullmatch(value) for tag in kept for value in tag[3]):
        return None
    parts = [_MARK, struct.pack("<2I", len(kept), _CHECK)]
    for name, vr, data_type, values in kept:
        items = values + [""] * (_LEAST_ITEMS - len(values))
        parts.append(_TAG.pack(name.encode(), len(values), vr, data_type, len(items), _CHECK))
        for value in items:
            text = value.encode() + b"\0" if value else b""
            parts.append(_ITEM.pack(len(text), len(text), _CHECK, len(text)) + text + bytes(-len(text) % 4))
    whole = b"".join(parts)
    return whole + bytes(len(whole) % 2)


def _tags(content: bytes) -> list[Tag]:
    """Name, VR, data type and values that are not empty, of each tag.

    Raises:
        struct.error, ValueError: this is no such header, or a damaged one.
    """
    if not content.startswith(_MARK):
        raise ValueError("no SV10")
    count, place = struct.unpack_from("<I", content, len(_MARK))[0], len(_MARK) + 8
    tags: list[Tag] = []
    if count > _MOST_TAGS:
        raise ValueError("too many tags")
    for _ in range(count):
        name, _multiplicity, vr, data_type, items, _check = _TAG.unpack_from(content, place)
        place += _TAG.size
        if not 0 <= items <= _MOST_ITEMS:
            raise ValueError("too many items")
        values = []
        for _ in range(items):
            length = _ITEM.unpack_from(content, place)[1]
            place += _ITEM.size
            if not 0 <= length <= len(content) - place:
                raise ValueError("an item beyond the end")
            values.append(content[place : place + length].split(b"\0")[0].decode("ascii", errors="replace").strip())
            place += length + -length % 4
        tags.append(
            (name.split(b"\0")[0].decode("ascii", errors="replace"), _vr(vr), data_type, list(filter(None, values)))
        )
    return tags


def _vr(field: bytes) -> bytes:
    """The VR without what stands behind its NUL."""
    found = field.split(b"\0")[0]
    return found if re.fullmatch(rb"[A-Z]{2}", found) else b"UN"
