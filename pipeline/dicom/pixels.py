"""Stored pixels to the scanner's values."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
from pydicom.pixels import pixel_array
from pydicom.uid import ExplicitVRLittleEndian, ImplicitVRLittleEndian, RLELossless

#: Most bits of a pixel (PS3.5 8.1.1 allows more only for what is no MR).
MAX_BITS = 32


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


def stored_values(pixels: npt.NDArray[Any], dataset: Any) -> npt.NDArray[np.int64]:
    """The stored values in `pixels`: only the BitsStored from HighBit down count (PS3.5 8.1.1).

    Whatever stands in the bits beside them (overlays, dirt) is dropped; PixelRepresentation 1 is two's complement.

    Raises:
        ValueError: BitsStored or HighBit are impossible.
    """
    bits = int(dataset.BitsStored)
    unused = int(dataset.get("HighBit", bits - 1)) + 1 - bits
    if not 1 <= bits <= bits + unused <= MAX_BITS:
        raise ValueError("impossible bits")
    values = (pixels.astype(np.int64) >> unused) & ((1 << bits) - 1)
    if dataset.PixelRepresentation == 1:
        values -= (values >> (bits - 1)) << bits
    return values


def inverted(values: npt.NDArray[np.int64], dataset: Any) -> npt.NDArray[np.int64]:
    """MONOCHROME1 as MONOCHROME2 (PS3.3 C.7.6.3.1.2): the least stored value that could be becomes the greatest."""
    bits = int(dataset.BitsStored)
    return (-1 if dataset.PixelRepresentation == 1 else (1 << bits) - 1) - values


def rescaled(values: npt.NDArray[np.int64], slope: float, intercept: float) -> npt.NDArray[np.float32]:
    """Value × RescaleSlope + RescaleIntercept (PS3.3 C.11.1.1.2), computed in float64."""
    with np.errstate(over="ignore", invalid="ignore"):
        return (values * slope + intercept).astype(np.float32)
