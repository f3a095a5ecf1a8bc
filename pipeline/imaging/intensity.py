"""Where the head is, and which intensities it has."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
from scipy import ndimage
from skimage.filters import threshold_otsu

from pipeline.errors import DataError

#: The head begins at this share of the way from air to the threshold that parts dark from bright voxels best:
#: dark tissue belongs to it, noise does not.
DARK_SHARE = 0.5
#: Pieces smaller than this share of all that is bright are noise or ghosts; the scalp is larger, and kept.
PIECE_SHARE = 0.02
#: Voxels brighter than this percentile say nothing about where the head begins.
SPIKE_PERCENTILE = 99.9
#: Bright voxels are looked for in blocks of this many pixels square: faster, and noise averages out.
BLOCK = 2


def head_mask(voxels: npt.NDArray[np.float32]) -> npt.NDArray[np.bool_]:
    """The head, without the air around it, holes filled.

    Args:
        voxels: (D, H, W), any scale: shift and positive factor change nothing.

    Returns:
        bool (D, H // 2, W // 2), one value a block of 2 by 2 pixels (a last odd row or column is left out).

    Raises:
        DataError: the volume is constant, holds values that are no numbers, or is narrower than a block.
    """
    if min(voxels.shape[1:]) < BLOCK:
        found = " by ".join(map(str, voxels.shape[1:]))
        raise DataError(f"slices of {BLOCK} by {BLOCK} pixels or more", found, "Leave this series out.")
    blocks = _blocks(voxels)
    ordered = np.sort(blocks, axis=None)  # NaN come last
    air, top = float(ordered[0]), float(ordered[-1])
    if not np.isfinite(air + top):
        raise DataError("a volume of numbers", "NaN or infinite voxels", "Leave this series out of the folder.")
    if air == top:
        raise DataError("a volume with a picture in it", "one value in every voxel", "Leave this series out.")
    above_air = ordered[np.searchsorted(ordered, ordered[0], side="right") :]
    spike = float(_percentile(above_air, SPIKE_PERCENTILE, np.float32))
    blocks -= air
    blocks *= np.float32(255 / ((spike if spike > air else top) - air))
    levels = np.minimum(blocks, 255, out=blocks).astype(np.uint8)
    bright = levels > DARK_SHARE * float(threshold_otsu(levels))
    return _filled(_large_pieces(bright))


def window(
    voxels: npt.NDArray[np.float32], mask: npt.NDArray[np.bool_], wanted: tuple[float, float]
) -> tuple[float, float]:
    """The intensities at two percentiles of the head's voxels.

    Args:
        voxels: (D, H, W).
        mask: as `head_mask` gives it.
        wanted: low and high, 0 to 100.

    Raises:
        DataError: the two are equal, so the head has no contrast.
    """
    low, high = percentiles(voxels, mask, wanted)
    if not low < high:
        raise DataError("a head with bright and dark tissue", "one value in nearly all of it", "Leave this series out.")
    return low, high


def percentiles(
    voxels: npt.NDArray[np.float32], mask: npt.NDArray[np.bool_], wanted: Sequence[float]
) -> tuple[float, ...]:
    """The intensities at percentiles, 0 to 100, of the voxels (D, H, W) in a mask as `head_mask` gives it."""
    ordered = voxels[_spread(mask, voxels.shape)]
    ordered.sort()
    return tuple(float(_percentile(ordered, percentile, np.float64)) for percentile in wanted)


def _percentile(
    ordered: npt.NDArray[np.float32], percentile: float, precision: type[np.float32] | type[np.float64]
) -> np.float32 | np.float64:
    """What `np.percentile` gives of these values, bit for bit.

    To sort, which NumPy does by SIMD instructions, takes less time than its partition about several places, which
    it does without.

    Args:
        ordered: rising.
        percentile: 0 to 100.
        precision: of the interpolation: float32 as of one percentile, float64 as of several.
    """
    place = (len(ordered) - 1) * (percentile / 100)
    below = int(place)
    first, second = ordered[below], ordered[min(below + 1, len(ordered) - 1)]
    share, step = place - below, second - first
    if share >= 0.5:
        return precision(second) - precision(step) * precision(1 - share)
    return precision(first) + precision(step) * precision(share)


def _blocks(voxels: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
    rows, columns = (size // BLOCK for size in voxels.shape[1:])
    whole = voxels[:, : rows * BLOCK, : columns * BLOCK]
    means = np.zeros((len(voxels), rows, columns), np.float32)
    for index, pixels in enumerate(whole):  # slice by slice, as each fits the processor's cache
        for row in range(BLOCK):
            for column in range(BLOCK):
                means[index] += pixels[row::BLOCK, column::BLOCK]
    means /= np.float32(BLOCK * BLOCK)
    return means


def _spread(mask: npt.NDArray[np.bool_], shape: tuple[int, ...]) -> npt.NDArray[np.bool_]:
    """A mask of blocks as a mask of voxels."""
    fine = np.zeros(shape, dtype=bool)
    rows, columns = (size * BLOCK for size in mask.shape[1:])
    for row in range(BLOCK):
        for column in range(BLOCK):
            fine[:, row:rows:BLOCK, column:columns:BLOCK] = mask
    return fine


def _large_pieces(bright: npt.NDArray[np.bool_]) -> npt.NDArray[np.bool_]:
    pieces, _ = ndimage.label(bright)
    sizes = np.bincount(pieces[bright])
    large = sizes >= PIECE_SHARE * sizes.sum()
    # With very scattered signal no piece is large; then the largest is the head.
    large[int(sizes.argmax())] = True
    return np.asarray(np.logical_or.reduce([pieces == piece for piece in np.flatnonzero(large)]))


def _filled(mask: npt.NDArray[np.bool_]) -> npt.NDArray[np.bool_]:
    """The mask with what lies between its first and last pixel, both in its row and in its column of a slice."""
    in_columns = _between(np.ascontiguousarray(mask.transpose(0, 2, 1))).transpose(0, 2, 1)
    return _between(mask) & in_columns


def _between(mask: npt.NDArray[np.bool_]) -> npt.NDArray[np.bool_]:
    """What lies between the first and the last pixel of each row."""
    place = np.arange(mask.shape[2], dtype=np.int32)
    first = mask.argmax(axis=2).astype(np.int32)
    last = place[-1] - mask[:, :, ::-1].argmax(axis=2).astype(np.int32)
    last[~mask.any(axis=2)] = -1
    return np.asarray((place >= first[:, :, None]) & (place <= last[:, :, None]))
