"""Stored pixels to the scanner's values."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
from pydicom.pixels import pixel_array
from pydicom.uid import ExplicitVRLittleEndian, ImplicitVRLittleEndian, RLELossless

#: Most bits of a pixel (PS3.5 8.1.1 allows more only for what is no MR).
MAX_BITS = 32

#: All that decoding asks of a data set; the parser leaves out the rest.
TAGS = [
    *("SOPInstanceUID", "SamplesPerPixel", "PhotometricInterpretation", "PlanarConfiguration", "NumberOfFrames"),
    *("Rows", "Columns", "BitsAllocated", "BitsStored", "HighBit", "PixelRepresentation"),
    *("PixelData", "FloatPixelData", "DoubleFloatPixelData", "ExtendedOffsetTable", "ExtendedOffsetTableLengths"),
]

#: Whole numbers up to this are float32.
_WHOLE_FLOAT32 = 2.0**24

#: Pixels that are rescaled at a time: what stands between fits the processor's cache.
_BLOCK_PIXELS = 1 << 14


def decoded(dataset: Any) -> npt.NDArray[Any]:
    """Pixels (N, rows, columns) of all frames of a data set with one sample a pixel, in the type of BitsAllocated.

    Compressed transfer syntaxes go through pydicom's decoders; RLE through its own, as the one in Rust ends the
    process on damaged bytes.

    Raises:
        Any of `header.DAMAGED`: the pixels are truncated, or cannot be decoded.
    """
    if not dataset.file_meta.get("TransferSyntaxUID"):
        implicit = dataset.original_encoding[0]
        dataset.file_meta.TransferSyntaxUID = ImplicitVRLittleEndian if implicit else ExplicitVRLittleEndian
    # pydicom's own correction of unused bits takes HighBit for BitsStored - 1; `stored_values` looks.
    plugin = "pydicom" if dataset.file_meta.TransferSyntaxUID == RLELossless else ""
    pixels = np.asarray(pixel_array(dataset, raw=True, correct_unused_bits=False, decoding_plugin=plugin))
    return pixels.reshape(-1, *pixels.shape[-2:])


def stored_values(pixels: npt.NDArray[Any], dataset: Any) -> npt.NDArray[Any]:
    """The stored values in `pixels`: only the BitsStored from HighBit down count (PS3.5 8.1.1).

    Whatever stands in the bits beside them (overlays, dirt) is dropped; PixelRepresentation 1 is two's complement.
    The type is that of `pixels`, which is enough for them, or int64 where the header claims more bits than that has.

    Raises:
        ValueError: BitsStored or HighBit are impossible.
    """
    bits = int(dataset.BitsStored)
    unused = int(dataset.get("HighBit", bits - 1)) + 1 - bits
    if not 1 <= bits <= bits + unused <= MAX_BITS:
        raise ValueError("impossible bits")
    signed = dataset.PixelRepresentation == 1
    width = 8 * pixels.dtype.itemsize
    if bits + unused > width or not pixels.dtype.isnative or pixels.dtype.kind not in "iu":
        values = (pixels.astype(np.int64) >> unused) & ((1 << bits) - 1)
        return values - ((values >> (bits - 1)) << bits if signed else 0)
    values = pixels.view(f"{'i' if signed else 'u'}{pixels.dtype.itemsize}")
    if bits == width:
        return values
    if not signed and not unused:
        return values & ((1 << bits) - 1)
    # Up to the top and down again: the bits above fall out, and the sign comes back by itself.
    return (values << (width - bits - unused)) >> (width - bits)


def inverted(values: npt.NDArray[Any], dataset: Any) -> npt.NDArray[Any]:
    """MONOCHROME1 as MONOCHROME2 (PS3.3 C.7.6.3.1.2): the least stored value that could be becomes the greatest."""
    bits = int(dataset.BitsStored)
    turned: npt.NDArray[Any] = (-1 if dataset.PixelRepresentation == 1 else (1 << bits) - 1) - values
    return turned


def rescale(values: npt.NDArray[Any], slope: float, intercept: float, into: npt.NDArray[np.float32]) -> None:
    """Value × RescaleSlope + RescaleIntercept (PS3.3 C.11.1.1.2), as computed in float64 and rounded once."""
    if (slope, intercept) == (1.0, 0.0):
        into[:] = values
        return
    if _exact(values, slope, intercept):
        into[:] = values
        into *= np.float32(slope)
        into += np.float32(intercept)
        return
    rows = max(1, _BLOCK_PIXELS // values.shape[-1])
    with np.errstate(over="ignore", invalid="ignore"):
        for start in range(0, len(values), rows):
            block = values[start : start + rows] * np.float64(slope)
            block += intercept
            into[start : start + rows] = block


def _exact(values: npt.NDArray[Any], slope: float, intercept: float) -> bool:
    """Whether all that is computed are whole numbers that float32 holds, so that nothing is rounded at all."""
    largest = abs(slope) * 2.0 ** (8 * values.dtype.itemsize) + abs(intercept)
    return slope.is_integer() and intercept.is_integer() and largest <= _WHOLE_FLOAT32


def certainly_finite(slope: float, intercept: float) -> bool:
    """Whether no stored value whatever can leave float32 by this rescale."""
    return abs(slope) * 2.0**MAX_BITS + abs(intercept) < float(np.finfo(np.float32).max)
