"""From a volume in scanner geometry to the slices that a network sees; training and box run this same code."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from pipeline.contract import Transform
from pipeline.errors import DataError
from pipeline.imaging.intensity import BLOCK, head_mask, window
from pipeline.imaging.resample import separable, weights
from pipeline.imaging.volume import Volume

#: Where rows and columns run on the screen, by the axis (LPS) that the slices' normal is nearest to: sagittal, coronal,
#: axial. Each is (axis, sign): row index grows towards it, column index grows towards it.
_DISPLAY = (
    ((2, -1), (1, +1)),  # sagittal: rows towards the feet, columns towards the back
    ((2, -1), (0, +1)),  # coronal: rows towards the feet, columns towards the left
    ((1, +1), (0, +1)),  # axial: rows towards the back, columns towards the left
)


def prepare(volume: Volume, transform: Transform) -> npt.NDArray[np.uint8]:
    """Turn, crop, scale and resample every slice; slice k of the result is slice k of the volume.

    1. Rows and columns are flipped and swapped, never interpolated, so that they run as radiologists display the
       nearest plane: axial slices with rows towards the patient's back and columns towards the left.
    2. Intensities between two percentiles of the head's voxels become 0..1; what is beyond is clipped.
    3. A square around the head of all slices together, `head_margin_mm` larger on each side, is resampled to
       `size` x `size` with equal pixels, averaging where that is coarser. Outside the picture is 0.
    4. 0..1 becomes 0..255, rounded: 8 bits, as the ImageNet network saw its pictures.

    Args:
        volume: voxels (D, H, W) with their geometry.
        transform: the contract's.

    Returns:
        uint8 (D, size, size).

    Raises:
        DataError: the volume is constant, or holds values that are no numbers.
    """
    voxels, row_mm, column_mm = _displayed(volume)
    mask = head_mask(voxels)
    low, high = window(voxels, mask, transform.window_percentiles)
    rows, columns = _square(mask, (row_mm, column_mm), voxels.shape[1:], transform)
    used_rows, used_columns = _used(rows), _used(columns)
    slices = np.empty((len(voxels), transform.size, transform.size), np.uint8)
    for index, whole in enumerate(voxels):  # one by one, each stays in the processor's cache
        part = whole[used_rows, used_columns] - np.float32(low)
        part /= np.float32(high - low)
        np.clip(part, 0, 1, out=part)
        picture = separable(part, rows[:, used_rows], columns[:, used_columns])
        np.clip(picture, 0, 1, out=picture)
        picture *= 255
        slices[index] = np.rint(picture, out=picture)
    return slices


def regions(volume: Volume, drawn: Volume, transform: Transform) -> tuple[npt.NDArray[np.bool_], npt.NDArray[np.bool_]]:
    """What was drawn on a volume, and the head, on the pixels that `prepare` gives: two of bool (D, size, size).

    A pixel belongs to either where at least half of it does.

    Args:
        volume: as `prepare` takes it.
        drawn: 0 where nothing is drawn; on any grid, of which each voxel of `volume` takes the nearest.
        transform: the contract's.

    Raises:
        DataError: as of `prepare`; or what is drawn lies outside the volume.
    """
    voxels, row_mm, column_mm = _displayed(volume)
    mask = head_mask(voxels)
    rows, columns = _square(mask, (row_mm, column_mm), voxels.shape[1:], transform)
    head = np.zeros(voxels.shape, np.float32)
    blocks = mask.repeat(BLOCK, axis=1).repeat(BLOCK, axis=2)
    head[:, : blocks.shape[1], : blocks.shape[2]] = blocks
    inside, _, _ = _displayed(Volume(_nearest(drawn, volume), volume.affine_lps))
    if drawn.voxels.any() and not inside.any():
        raise DataError(
            "what is drawn inside its volume", "all of it elsewhere", "Draw it on the volume in data/ingested."
        )
    lesion, around = (separable(np.ascontiguousarray(part), rows, columns) >= 0.5 for part in (inside, head))
    return lesion, around


def _nearest(drawn: Volume, onto: Volume) -> npt.NDArray[np.float32]:
    """1 at the voxels of a volume whose nearest voxel of another grid is not 0; 0 elsewhere."""
    there = np.linalg.inv(drawn.affine_lps) @ onto.affine_lps
    slices, rows, columns = np.indices(onto.voxels.shape).reshape(3, -1)
    places = np.rint(there @ np.stack([columns, rows, slices, np.ones_like(rows)])).astype(np.int64)[2::-1]
    sizes = np.array(drawn.voxels.shape)[:, None]
    known = ((places >= 0) & (places < sizes)).all(axis=0)
    found = np.zeros(onto.voxels.size, np.float32)
    found[known] = drawn.voxels[tuple(places[:, known])] != 0
    return found.reshape(onto.voxels.shape)


def _displayed(volume: Volume) -> tuple[npt.NDArray[np.float32], float, float]:
    """Voxels as displayed, with the distance between rows and between columns in mm."""
    column, row = volume.affine_lps[:3, 0], volume.affine_lps[:3, 1]
    normal = np.cross(column, row)
    (row_axis, row_sign), (column_axis, column_sign) = _DISPLAY[int(np.abs(normal).argmax())]
    row_mm, column_mm = float(np.linalg.norm(row)), float(np.linalg.norm(column))
    voxels = volume.voxels
    row, column = row / row_mm, column / column_mm
    straight = abs(row[row_axis]) + abs(column[column_axis])
    swapped = abs(column[row_axis]) + abs(row[column_axis])
    if swapped > straight:
        voxels, row, column, row_mm, column_mm = voxels.transpose(0, 2, 1), column, row, column_mm, row_mm
    if row[row_axis] * row_sign < 0:
        voxels = voxels[:, ::-1]
    if column[column_axis] * column_sign < 0:
        voxels = voxels[:, :, ::-1]
    return np.ascontiguousarray(voxels, dtype=np.float32), row_mm, column_mm


def _square(
    mask: npt.NDArray[np.bool_], spacing_mm: tuple[float, float], shape: tuple[int, ...], transform: Transform
) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.float32]]:
    """Resampling weights for rows and columns of the square around the head."""
    spans = []
    shadow = np.asarray(mask.any(axis=0))
    for across, step in zip((1, 0), spacing_mm, strict=True):
        found = np.flatnonzero(shadow.any(axis=across))
        # Edges of the first and last block, from the centre of the first pixel.
        spans.append(((found[0] * BLOCK - 0.5) * step, (found[-1] * BLOCK + BLOCK - 0.5) * step))
    side = max(end - begin for begin, end in spans) + 2 * transform.head_margin_mm
    pixel = side / transform.size
    rows, columns = (
        weights(size, (begin + end - side + pixel) / 2, step, transform.size, pixel)
        for (begin, end), size, step in zip(spans, shape, spacing_mm, strict=True)
    )
    return rows, columns


def _used(matrix: npt.NDArray[np.float32]) -> slice:
    """The part of the input axis that the weights touch."""
    used = np.flatnonzero(matrix.any(axis=0))
    return slice(int(used[0]), int(used[-1]) + 1)
