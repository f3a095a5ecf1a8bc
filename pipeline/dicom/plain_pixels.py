"""Uncompressed pixels straight from their place in the file, which the header's reading has remembered."""

from __future__ import annotations

import math
import os
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
from pydicom.datadict import tag_for_keyword

from pipeline.dicom.plain_header import File

_KEYWORDS = ("BitsAllocated", "BitsStored", "HighBit", "PixelRepresentation")
TAGS = frozenset(tag for keyword in _KEYWORDS if (tag := tag_for_keyword(keyword)) is not None)

#: Types by BitsAllocated and PixelRepresentation; others are pydicom's.
_TYPES = {(8, 0): "<u1", (8, 1): "<i1", (16, 0): "<u2", (16, 1): "<i2"}
_GREY = ("MONOCHROME1", "MONOCHROME2")
#: VRs that hold these; that of an implicit element is not written.
_VRS = {b"OB", b"OW", b""}

#: DataSetTrailingPadding (FFFC,FFFC) may follow the pixels; other elements are pydicom's.
_PADDING = b"\xfc\xff\xfc\xff"


class PlainPixels(NamedTuple):
    """The pixels of a file, and by what it is known again.

    Attributes:
        shape: frames, rows, columns as they are stored.
        dtype: NumPy's name.
        bits_stored, high_bit: as in the header (PS3.5 8.1.1).
        offset: of the first pixel, in bytes.
        size, modified_ns: of the file.
    """

    shape: tuple[int, int, int]
    dtype: str
    bits_stored: int
    high_bit: int
    offset: int
    size: int
    modified_ns: int


class Bits(NamedTuple):
    """What `pipeline.dicom.pixels` asks of a data set."""

    BitsStored: int
    HighBit: int
    PixelRepresentation: int

    def get(self, keyword: str, _default: int) -> int:
        """The value of a keyword; it is always there."""
        return int(getattr(self, keyword))


def find(file: File) -> PlainPixels | None:
    """The place of pixels that are uncompressed, ordinary, and all there; None where pydicom has to decode.

    Raises:
        Doubtful: a value is not certain.
    """
    header, pixels = file.header, file.pixels
    allocated, stored, high, signed = (header.get(keyword) for keyword in _KEYWORDS)
    shape = header.get("NumberOfFrames") or 1, header.get("Rows"), header.get("Columns")
    numbers = (allocated, stored, high, signed, *shape)
    if not (file.plain and pixels.whole) or pixels.vr not in _VRS or not all(type(n) is int for n in numbers):
        return None
    dtype = _TYPES.get((allocated, signed))
    grey = header.get("SamplesPerPixel") == 1 and header.get("PhotometricInterpretation") in _GREY
    if dtype is None or not grey or not 1 <= stored <= high + 1 <= allocated:
        return None
    if min(shape) < 1 or shape[0] * shape[1] * shape[2] * allocated // 8 != pixels.length:
        return None
    return PlainPixels(shape, dtype, stored, high, pixels.offset, pixels.size, pixels.modified_ns)


class Reader:
    """Reads pixels into one buffer: new memory for every slice would cost as much as reading it."""

    def __init__(self) -> None:
        self._buffer = np.empty(0, np.uint8)

    def read(self, path: Path, pixels: PlainPixels) -> tuple[Bits, npt.NDArray[Any]] | None:
        """Pixels (N, rows, columns) of a file, which hold until the next are read.

        None where the file is not as it was when its header was read, or more than padding follows the pixels.

        Raises:
            OSError: it cannot be read.
        """
        length = math.prod(pixels.shape) * np.dtype(pixels.dtype).itemsize
        end = pixels.offset + length
        handle = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        try:
            status = os.fstat(handle)
            if (status.st_size, status.st_mtime_ns) != (pixels.size, pixels.modified_ns):
                return None
            if self._buffer.nbytes < length:
                self._buffer = np.empty(length, np.uint8)
            if os.preadv(handle, [self._buffer[:length].data], pixels.offset) != length:
                return None
            if end < pixels.size and os.pread(handle, 4, end) != _PADDING:
                return None
        finally:
            os.close(handle)
        found = self._buffer[:length].view(pixels.dtype).reshape(pixels.shape)
        return Bits(pixels.bits_stored, pixels.high_bit, int(pixels.dtype[1] == "i")), found
