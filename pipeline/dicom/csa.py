"""Siemens's CSA header: named values within a private element, in two layouts that nobody published.

The layout is as nibabel's notes describe it (nipy.org/nibabel/dicom/siemens_csa.html). Nothing in it is trusted: every
length is checked against the bytes that are there, and garbage is an empty header.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator

#: Most elements, and most values of one, that a header may claim; real ones hold 80 to 120, and up to 1,024.
MAX_ELEMENTS = 1000
MAX_VALUES = 10_000

#: How the newer layout begins. Then, in both: the number of elements and a check; of each element name, VM, VR, type,
#: number of values and a check; of each value four lengths.
NEW = b"SV10"
ELEMENT = struct.Struct("<64s i 4s i i i")
VALUE = struct.Struct("<4i")
COUNT = struct.Struct("<2I")


def values(content: object, wanted: frozenset[str]) -> dict[str, tuple[str, ...]]:
    """The values of the wanted elements of a header, as text without blanks; what is damaged ends it."""
    found: dict[str, tuple[str, ...]] = {}
    if not isinstance(content, bytes):
        return found
    try:
        for name, texts in _elements(content):
            if name in wanted:
                found.setdefault(name, tuple(text for text in map(_text, texts) if text))
    except struct.error:
        return found
    return found


def _elements(content: bytes) -> Iterator[tuple[str, list[bytes]]]:
    """Name and values of each element, until the header ends or makes no sense."""
    new = content.startswith(NEW)
    place = 8 if new else 0
    count, _ = COUNT.unpack_from(content, place)
    place += COUNT.size
    first: int | None = None
    for _ in range(min(count, MAX_ELEMENTS)):
        name, _vm, _vr, _syngo, n_values, _check = ELEMENT.unpack_from(content, place)
        place += ELEMENT.size
        if not 0 <= n_values <= MAX_VALUES:
            return
        # The old layout adds the first element's number of values to each length.
        first = n_values if first is None else first
        texts = []
        for _ in range(n_values):
            lengths = VALUE.unpack_from(content, place)
            place += VALUE.size
            length = lengths[1] if new else lengths[0] - first
            if not 0 <= length <= len(content) - place:
                return
            texts.append(content[place : place + length])
            place += (length + 3) // 4 * 4
        yield _text(name), texts


def _text(content: bytes) -> str:
    return content.split(b"\0", 1)[0].decode("ascii", "replace").strip()
