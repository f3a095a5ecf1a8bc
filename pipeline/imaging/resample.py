"""Resampling of pictures with unequal pixels by separable weights."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt


def weights(size: int, first_mm: float, step_mm: float, count: int, pixel_mm: float) -> npt.NDArray[np.float32]:
    """Weights that take one axis of a picture to `count` output pixels.

    The filter is a triangle: linear interpolation when the output is finer than the input, and as wide as two output
    pixels when it is coarser, so that fine detail is averaged rather than aliased (Turkowski, Filters for Common
    Resampling Tasks, in Graphics Gems, 1990).

    Args:
        size: input pixels along the axis.
        first_mm: where the centre of the first output pixel lies, from the centre of the first input pixel.
        step_mm: input pixel, centre to centre.
        count: output pixels.
        pixel_mm: output pixel, centre to centre.

    Returns:
        float32 (count, size); a row adds up to 1 inside the picture and falls to 0 outside it.
    """
    wanted = (first_mm + pixel_mm * np.arange(count)) / step_mm
    reach = max(1.0, pixel_mm / step_mm)
    # Half a picture further on either side, input pixels that are not there take their share of each row's sum.
    pad = int(np.ceil(reach)) + 1
    near = np.clip(wanted, -pad, size - 1 + pad)
    triangle = np.maximum(0.0, 1 - np.abs(near[:, None] - np.arange(-2 * pad, size + 2 * pad)) / reach)
    triangle /= triangle.sum(axis=1, keepdims=True)
    inside: npt.NDArray[np.float32] = triangle[:, 2 * pad : 2 * pad + size].astype(np.float32)
    return inside


def separable(
    slices: npt.NDArray[np.float32], rows: npt.NDArray[np.float32], columns: npt.NDArray[np.float32]
) -> npt.NDArray[np.float32]:
    """Apply `weights` along rows and columns: (D, H, W) with (h, H) and (w, W) to float32 (D, h, w)."""
    return np.asarray(rows @ slices @ columns.T, dtype=np.float32)
