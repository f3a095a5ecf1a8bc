"""Elements of little-endian DICOM by their places in the bytes; what is not entirely ordinary is left to pydicom.

A data set is walked only as far as the standard is kept to: known VRs, rising tags, lengths that end where they should
(PS3.5 7.1, 7.5). Anything else raises `Doubtful`, so that nothing is guessed here that pydicom would guess otherwise.
"""

from __future__ import annotations

import struct

from pydicom.datadict import dictionary_VR

#: Deepest nesting that is walked; MR objects need 5.
MAX_DEPTH = 8

#: PixelData, and what stands in its place for floating point.
PIXEL_DATA = 0x7FE00010
_FLOAT_PIXELS = 0x7FE00008

_ITEM, _ITEM_END, _SEQUENCE_END = 0xFFFEE000, 0xFFFEE00D, 0xFFFEE0DD
_UNDEFINED = 0xFFFFFFFF

#: A data set begins with group 0008 (PS3.10 7.1 and PS3.5 7.5 leave it no lower one).
_FIRST_TAG = 0x00080000
#: A first element of this length has two bytes that could be a VR.
_LONGEST_FIRST = 0x4000

#: VRs with a length of 16 bits, and those of 32 bits behind two reserved bytes (PS3.5 7.1.2).
_SHORT = {
    *(b"AE", b"AS", b"AT", b"CS", b"DA", b"DS", b"DT", b"FD", b"FL", b"IS", b"LO", b"LT", b"PN", b"SH", b"SL", b"SS"),
    *(b"ST", b"TM", b"UI", b"UL", b"US"),
}
_LONG = {
    *(b"OB", b"OD", b"OF", b"OL", b"OV", b"OW", b"SQ", b"SV", b"UC", b"UN", b"UR", b"UT", b"UV"),
}
VRS = _SHORT | _LONG

_EXPLICIT = struct.Struct("<HH2sH").unpack_from
_IMPLICIT = struct.Struct("<HHL").unpack_from
_LENGTH = struct.Struct("<L").unpack_from


class Doubtful(Exception):  # noqa: N818 - no error: pydicom is asked instead
    """Nothing that the fast path knows for certain."""


class Short(Doubtful):
    """The bytes end before the data set does: more of the file may help."""


#: An element's VR (empty where it is implicit) and its value, `buffer[start : start + length]`.
Place = tuple[bytes, int, int]
Elements = dict[int, Place]


def data_set(buffer: bytes, place: int, implicit: bool, wanted: frozenset[int]) -> tuple[Elements, Place]:
    """The `wanted` elements of a data set before its pixels, and PixelData.

    Raises:
        Doubtful: it has no PixelData, or is unusual in any way.
    """
    found: Elements = {}
    read = _implicit if implicit else _explicit
    if implicit and read(buffer, place)[3] > _LONGEST_FIRST:
        raise Doubtful
    last = _FIRST_TAG - 1
    while True:
        if not implicit:
            place, last = _skip(buffer, place, last, wanted)
        tag, vr, start, length = read(buffer, place)
        if tag <= last:
            raise Doubtful
        if tag >= _FLOAT_PIXELS:
            if tag != PIXEL_DATA:
                raise Doubtful
            return found, (vr, start, length)
        last = tag
        if length != _UNDEFINED:
            place = start + length
        else:
            place = _sequence_end(buffer, start, tag, vr, implicit)
            vr, length = b"SQ", place - start
        if tag in wanted:
            found[tag] = vr, start, length


def _skip(buffer: bytes, place: int, last: int, wanted: frozenset[int]) -> tuple[int, int]:
    """The place of the next explicit element that is wanted or unusual, and the tag before it: most are neither."""
    unpack, short = _EXPLICIT, _SHORT
    try:
        while True:
            group, element, vr, length = unpack(buffer, place)
            tag = group << 16 | element
            if tag in wanted or vr not in short or tag <= last or tag >= _FLOAT_PIXELS:
                return place, last
            last = tag
            place += 8 + length
    except struct.error:
        raise Short from None


def meta(buffer: bytes) -> tuple[Elements, int]:
    """The file meta group (explicit, PS3.10 7.1) behind the preamble, and where the data set begins.

    Raises:
        Doubtful: its first element does not give its length, or wrongly.
    """
    tag, vr, start, length = _explicit(buffer, 132)
    if (tag, vr, length) != (0x00020000, b"UL", 4):
        raise Doubtful
    end = start + 4 + _LENGTH(buffer, start)[0]
    if end > len(buffer):
        raise Short
    return _elements(buffer, start + 4, end, implicit=False, above=tag, below=0x00030000, depth=MAX_DEPTH)[0], end


def items(buffer: bytes, start: int, end: int, implicit: bool) -> list[Elements]:
    """The items of a sequence whose value, with its delimiter if it has one, is `buffer[start:end]`.

    Raises:
        Doubtful: it is unusual in any way.
    """
    found, stop = _items(buffer, start, end, implicit, 0)
    if stop != end:
        raise Doubtful
    return found


def _explicit(buffer: bytes, place: int) -> tuple[int, bytes, int, int]:
    """Tag, VR, place of the value and length of the element at `place`."""
    try:
        group, element, vr, length = _EXPLICIT(buffer, place)
        if vr in _SHORT:
            return group << 16 | element, vr, place + 8, length
        if vr in _LONG:
            return group << 16 | element, vr, place + 12, _LENGTH(buffer, place + 8)[0]
    except struct.error:
        raise Short from None
    if group == _ITEM >> 16:
        return group << 16 | element, b"", place + 8, length << 16 | int.from_bytes(vr, "little")
    raise Doubtful


def _implicit(buffer: bytes, place: int) -> tuple[int, bytes, int, int]:
    try:
        group, element, length = _IMPLICIT(buffer, place)
    except struct.error:
        raise Short from None
    return group << 16 | element, b"", place + 8, length


def _items(buffer: bytes, place: int, end: int | None, implicit: bool, depth: int) -> tuple[list[Elements], int]:
    """Items up to `end`, or to the delimiter where that is None; and where they ended."""
    found: list[Elements] = []
    if depth > MAX_DEPTH:
        raise Doubtful
    while end is None or place < end:
        tag, _, start, length = _implicit(buffer, place)
        if tag == _SEQUENCE_END and length == 0:
            return found, start
        if tag != _ITEM:
            raise Doubtful
        stop = None if length == _UNDEFINED else start + length
        elements, place = _elements(buffer, start, stop, implicit, 0, _ITEM, depth)
        found.append(elements)
    return found, place


def _elements(
    buffer: bytes, place: int, end: int | None, implicit: bool, above: int, below: int, depth: int
) -> tuple[Elements, int]:
    """All elements up to `end`, or to the delimiter of the item where that is None; and where they ended."""
    found: Elements = {}
    read = _implicit if implicit else _explicit
    while end is None or place < end:
        tag, vr, start, length = read(buffer, place)
        if tag == _ITEM_END and end is None and length == 0:
            return found, start
        if not above < tag < below:
            raise Doubtful
        above = tag
        if length != _UNDEFINED:
            place = start + length
        else:
            place = _sequence_end(buffer, start, tag, vr, implicit, depth + 1)
            vr, length = b"SQ", place - start
        found[tag] = vr, start, length
    if place != end:
        raise Doubtful
    return found, place


def _sequence_end(buffer: bytes, start: int, tag: int, vr: bytes, implicit: bool, depth: int = 0) -> int:
    """Where a sequence of undefined length ends, behind its delimiter."""
    if vr != b"SQ" and not (implicit and _is_sequence(buffer, start, tag)):
        raise Doubtful
    return _items(buffer, start, None, implicit, depth)[1]


def _is_sequence(buffer: bytes, start: int, tag: int) -> bool:
    """Whether an element of undefined length and no VR is a sequence: by the dictionary, else by its first bytes."""
    try:
        return str(dictionary_VR(tag)) == "SQ"
    except KeyError:
        return _implicit(buffer, start)[0] == _ITEM
