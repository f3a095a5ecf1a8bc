"""The header of an ordinary DICOM file by one short read, in the place of pydicom's data set where no doubt is left.

`Header` and its items answer what `pipeline.dicom` asks of a data set. pydicom is the oracle of its tests.
"""

from __future__ import annotations

import functools
import os
from collections.abc import Iterable
from pathlib import Path
from typing import Any, NamedTuple

from pydicom.datadict import dictionary_VR, private_dictionary_VR, tag_for_keyword

from pipeline.dicom import walk
from pipeline.dicom.plain_values import ASCII_SETS, REMEMBERED_BYTES, decode, remembered
from pipeline.dicom.walk import Doubtful, Short

#: First read, and how much more is read while the pixels have not come; beyond the last, pydicom reads.
WINDOWS = (1 << 15, 1 << 18, 1 << 21, 1 << 23)

IMPLICIT, EXPLICIT = "1.2.840.10008.1.2", "1.2.840.10008.1.2.1"
#: Encapsulated syntaxes are explicit and little endian (PS3.5 A.4): JPEG, JPEG-LS, JPEG 2000; RLE.
_ENCAPSULATED = ("1.2.840.10008.1.2.4.", "1.2.840.10008.1.2.5")
#: Files with this in their first bytes are unpacked, or refused, by `source`.
_DEFLATED = b"1.2.840.10008.1.2.1.99"
_DEFLATED_WITHIN = 4096

#: VRs that say what they are.
_VRS = {code: code.decode() for code in walk.VRS if code != b"UN"}

_CHARACTER_SET = 0x00080005
_CREATORS = range(0x10, 0x100)


class Element(NamedTuple):
    """What is asked of an element that is found by its tag."""

    value: Any


class Items(list["Header"]):
    """The items of a sequence."""


class Header:
    """A data set, or an item of a sequence: values by keyword, elements by tag."""

    __slots__ = ("_buffer", "_elements", "_implicit")

    def __init__(self, buffer: bytes, elements: walk.Elements, implicit: bool) -> None:
        self._buffer, self._elements, self._implicit = buffer, elements, implicit
        if _CHARACTER_SET in elements:
            said = self.value(_CHARACTER_SET)
            if not isinstance(said, str) or said not in ASCII_SETS:
                raise Doubtful

    def get(self, key: str | tuple[int, int]) -> Any:
        """The value of a keyword, or the element of a tag; None where it is missing."""
        if isinstance(key, str):
            tag = _tag(key)
            return self.value(tag) if tag in self._elements else None
        tag = key[0] << 16 | key[1]
        return self[tag] if tag in self._elements else None

    def __getitem__(self, tag: int) -> Element:
        return Element(self.value(tag))

    def keys(self) -> Iterable[int]:
        """The tags that are there, rising."""
        return self._elements.keys()

    def without(self, tags: frozenset[int]) -> tuple[tuple[int, bytes, bytes], ...]:
        """Tag, VR and bytes of all elements but these."""
        buffer = self._buffer
        return tuple(
            [
                (tag, vr, buffer[start : start + length])
                for tag, (vr, start, length) in self._elements.items()
                if tag not in tags
            ]
        )

    def value(self, tag: int) -> Any:
        """The value of an element that is there.

        Raises:
            Doubtful: pydicom might give another.
        """
        code, start, length = self._elements[tag]
        vr = _VRS.get(code) or self._vr(tag)
        if length <= REMEMBERED_BYTES and vr != "SQ":
            return remembered(vr, self._buffer[start : start + length])
        if vr != "SQ":
            return decode(vr, self._buffer[start : start + length])
        if code == b"UN":  # of which encoding, nobody says
            raise Doubtful
        found = walk.items(self._buffer, start, start + length, self._implicit)
        return Items(Header(self._buffer, elements, self._implicit) for elements in found)

    def _vr(self, tag: int) -> str:
        """The VR of an element whose VR is implicit or UN, as pydicom finds it."""
        if not tag >> 16 & 1:
            return _public_vr(tag)
        if tag & 0xFFFF in _CREATORS:
            return "LO"
        creator = tag >> 16 << 16 | (tag >> 8 & 0xFF)
        return _private_vr(tag, self.value(creator)) if creator in self._elements else "UN"


class Pixels(NamedTuple):
    """Where the value of PixelData stands; size and time of the file, by which it is known again."""

    vr: bytes
    offset: int
    length: int
    size: int
    modified_ns: int

    @property
    def whole(self) -> bool:
        """Whether the file is long enough for them."""
        return self.offset + self.length <= self.size


class File(NamedTuple):
    """The header of a file.

    Attributes:
        meta: the file meta group.
        syntax: TransferSyntaxUID.
    """

    header: Header
    meta: Header
    syntax: str
    pixels: Pixels

    @property
    def plain(self) -> bool:
        """Whether the pixels are not compressed."""
        return self.syntax in {IMPLICIT, EXPLICIT}


def read(path: Path, wanted: frozenset[int]) -> File | None:
    """The header of a file, with the `wanted` elements, of which SpecificCharacterSet must be one.

    None where pydicom has to read it. What is given raises `Doubtful` when it is asked for a value that is not certain.
    """
    try:
        handle = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except OSError:
        return None
    try:
        return _read(handle, wanted)
    except (Doubtful, OSError):
        return None
    finally:
        os.close(handle)


def _read(handle: int, wanted: frozenset[int]) -> File | None:
    for window in WINDOWS:
        buffer = os.pread(handle, window, 0)
        if buffer[128:132] != b"DICM" or buffer.find(_DEFLATED, 0, _DEFLATED_WITHIN) >= 0:
            return None
        try:
            return _parse(handle, buffer, wanted)
        except Short:
            if len(buffer) < window:
                return None
    return None


def _parse(handle: int, buffer: bytes, wanted: frozenset[int]) -> File:
    elements, start = walk.meta(buffer)
    meta = Header(buffer, elements, implicit=False)
    syntax = meta.get("TransferSyntaxUID")
    if not syntax or not (syntax in {IMPLICIT, EXPLICIT} or syntax.startswith(_ENCAPSULATED)):
        raise Doubtful
    elements, (vr, offset, length) = walk.data_set(buffer, start, syntax == IMPLICIT, wanted)
    status = os.fstat(handle)
    pixels = Pixels(vr, offset, length, status.st_size, status.st_mtime_ns)
    return File(Header(buffer, elements, syntax == IMPLICIT), meta, syntax, pixels)


@functools.cache
def _tag(keyword: str) -> int:
    tag = tag_for_keyword(keyword)
    assert tag is not None
    return int(tag)


@functools.lru_cache(maxsize=1024)
def _public_vr(tag: int) -> str:
    try:
        return str(dictionary_VR(tag))
    except KeyError:
        raise Doubtful from None


@functools.lru_cache(maxsize=1024)
def _private_vr(tag: int, creator: str) -> str:
    try:
        return str(private_dictionary_VR(tag, creator))
    except KeyError:
        return "UN"
