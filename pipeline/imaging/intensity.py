"""Where the head is, and which intensities it has."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
from skimage.filters import threshold_otsu
from skimage.measure import label

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
        DataError: the volume is constant or holds values that are no numbers.
    """
    blocks = _blocks(voxels)
    air, top = float(blocks.min()), float(blocks.max())
    if not np.isfinite(air + top):
        raise DataError("a volume of numbers", "NaN or infinite voxels", "Leave this series out of the folder.")
    if air == top:
        raise DataError("a volume with a picture in it", "one value in every voxel", "Leave this series out.")
    spike = float(np.percentile(blocks[blocks > air], SPIKE_PERCENTILE))
    scale = 255 / ((spike if spike > air else top) - air)
    levels = np.minimum((blocks - air) * np.float32(scale), 255).astype(np.uint8)
    bright = levels > DARK_SHARE * float(threshold_otsu(levels))
    return _filled(_large_pieces(bright))


def window(
    voxels: npt.NDArray[np.float32], mask: npt.NDArray[np.bool_], percentiles: tuple[float, float]
) -> tuple[float, float]:
    """The intensities at two percentiles of the head's voxels.

    Args:
        voxels: (D, H, W).
        mask: as `head_mask` gives it.
        percentiles: low and high, 0 to 100.

    Raises:
        DataError: the two are equal, so the head has no contrast.
    """
    inside = _spread(mask, voxels.shape)
    low, high = (float(value) for value in np.percentile(voxels[inside], percentiles))
    if not low < high:
        raise DataError("a head with bright and dark tissue", "one value in nearly all of it", "Leave this series out.")
    return low, high


def _blocks(voxels: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
    rows, columns = (size // BLOCK for size in voxels.shape[1:])
    whole = voxels[:, : rows * BLOCK, : columns * BLOCK]
    parts = [whole[:, row::BLOCK, column::BLOCK] for row in range(BLOCK) for column in range(BLOCK)]
    return np.asarray(sum(parts[1:], parts[0]) / np.float32(len(parts)), dtype=np.float32)


def _spread(mask: npt.NDArray[np.bool_], shape: tuple[int, ...]) -> npt.NDArray[np.bool_]:
    """A mask of blocks as a mask of voxels."""
    fine = np.zeros(shape, dtype=bool)
    rows, columns = (size * BLOCK for size in mask.shape[1:])
    for row in range(BLOCK):
        for column in range(BLOCK):
            fine[:, row:rows:BLOCK, column:columns:BLOCK] = mask
    return fine


def _large_pieces(bright: npt.NDArray[np.bool_]) -> npt.NDArray[np.bool_]:
    pieces = label(bright, connectivity=1)
    sizes = np.bincount(pieces.ravel())
    large = sizes >= PIECE_SHARE * sizes[1:].sum()
    large[0] = False
    # With very scattered signal no piece is large; then the largest is the head.
    large[1 + int(sizes[1:].argmax())] = True
    return np.asarray(large[pieces])


def _filled(mask: npt.NDArray[np.bool_]) -> npt.NDArray[np.bool_]:
    """The mask with what lies between its first and last pixel, both in its row and in its column of a slice."""
    filled = np.ones_like(mask)
    for axis in (1, 2):
        since = np.maximum.accumulate(mask, axis=axis)
        until = np.flip(np.maximum.accumulate(np.flip(mask, axis), axis=axis), axis)
        filled &= since & until
    return filled
