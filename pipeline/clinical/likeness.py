"""How alike two slices are, however they are flipped, moved, scaled or windowed.

1. *Frame*: the centre and spread of what stands out from the background, by moments. A grid laid over that frame shows
   the same slice alike, wherever and however large it stands in its picture.
2. *Fingerprint*: 256 bits, whether each cell of a 16 x 16 grid of fine detail is above the median (a perceptual
   hash). It is quick to compare, and says which pairs are worth the third step.
3. *Likeness*: the largest correlation of the detail in both frames over shifts and over scales around the moments' own.

Coarse shapes are taken out before both: heads are alike, and their detail is not.
"""

from __future__ import annotations

from typing import NamedTuple, TypeVar

import numpy as np
import numpy.typing as npt
from scipy import fft, ndimage

Kind = TypeVar("Kind", bound=np.generic)
Pixels = npt.NDArray[np.uint8]
Floats = npt.NDArray[np.float64]
Floats32 = npt.NDArray[np.float32]

GRID = 32  # cells of the grid, across
BITS = 256
_CELLS = 16
_REACH = 2.0  # half a grid, in spreads
_DETAIL = 2.0  # Gaussian sigma, in cells: what is coarser is taken out
_SHIFT = 5  # cells, either way
_SCALES = np.exp(np.linspace(-0.15, 0.15, 5))  # steps of 7.8 %
_FINER = (0.0375, 0.01875)  # logarithms of scale around the best of these
_GAIN = 0.12  # of likeness, at most, by the finer steps
#: What may stand for a flip: rows, columns, both, neither.
FLIPS = ((1, 1), (1, -1), (-1, 1), (-1, -1))


class Frames(NamedTuple):
    """Of N slices the centre (row, column) and spread of their content, in pixels, float32 (N,)."""

    row: Floats32
    column: Floats32
    spread: Floats32

    def at(self, places: npt.NDArray[np.int64]) -> Frames:
        """Those at `places`."""
        return Frames(*(values[places] for values in self))


def frames(slices: Pixels) -> Frames:
    """The frames of uint8 (N, S, S)."""
    step = max(1, slices.shape[1] // 64)
    thin = slices[:, ::step, ::step].astype(np.float32)
    count = thin.shape[1] * thin.shape[2]
    ranked = np.partition(thin.reshape(len(thin), -1), (count // 10, int(count * 0.98)), axis=1)
    low, span = ranked[:, count // 10], np.maximum(ranked[:, int(count * 0.98)] - ranked[:, count // 10], 1)
    # Above the background, and nothing much above the rest: bright skin must not pull the frame about.
    mass = np.clip(thin - (low + 0.15 * span)[:, None, None], 0, (0.2 * span)[:, None, None])
    total = mass.sum((1, 2)) + 1e-6
    place = np.arange(thin.shape[1], dtype=np.float32) * step
    rows, columns = mass.sum(2) / total[:, None], mass.sum(1) / total[:, None]
    row, column = rows @ place, columns @ place
    spread = (rows * (place - row[:, None]) ** 2).sum(1) + (columns * (place - column[:, None]) ** 2).sum(1)
    return Frames(row, column, np.maximum(np.sqrt(spread / 2), 1).astype(np.float32))


def detail(slices: Pixels | Floats32, around: Frames, scale: float | npt.NDArray[np.floating] = 1.0) -> Floats32:
    """Fine detail of (N, S, S) grey values on the grids of their frames, each `scale` as large: float32 (N, 32, 32).

    Each has mean 0 and norm 1, so that the product of two is their correlation.
    """
    half = _REACH * around.spread * np.asarray(scale, dtype=np.float32)
    across = _weights(around.row, half, slices.shape[1]), _weights(around.column, half, slices.shape[2])
    grid = across[0] @ slices.astype(np.float32, copy=False) @ across[1].transpose(0, 2, 1)
    grid -= ndimage.gaussian_filter(grid, (0, _DETAIL, _DETAIL))
    grid -= grid.mean((1, 2), keepdims=True)
    norm = np.sqrt((grid**2).sum((1, 2), keepdims=True))
    return np.asarray(grid / np.maximum(norm, 1e-6), dtype=np.float32)


def _weights(centre: Floats32, half: Floats32, size: int) -> Floats32:
    """(N, 32, size): how much each pixel counts in each cell; linear, and averaging where cells are the larger."""
    cell = (2 * half / GRID)[:, None, None]
    middle = (np.arange(GRID, dtype=np.float32) - (GRID - 1) / 2)[None, :, None]
    pixel = np.arange(size, dtype=np.float32)[None, None, :]
    width = np.maximum(cell, 1)
    distance = np.abs(pixel - centre[:, None, None] - middle * cell)
    return np.asarray(np.maximum(0, 1 - distance / width) / width, dtype=np.float32)


def fingerprints(grids: Floats32) -> Floats32:
    """(N, 256) of -1 and 1, from what `detail` gives; the mean product of two is 1 where they agree, 0 by chance."""
    side = GRID // _CELLS
    cells = grids.reshape(len(grids), _CELLS, side, _CELLS, side).mean((2, 4)).reshape(len(grids), BITS)
    return np.where(cells > np.median(cells, axis=1, keepdims=True), 1, -1).astype(np.float32)


def flipped(pictures: npt.NDArray[Kind], flip: tuple[int, int]) -> npt.NDArray[Kind]:
    """(N, H, W), mirrored."""
    return pictures[:, :: flip[0], :: flip[1]]


def likeness(slices: Pixels, own: Frames, others: Pixels, theirs: Frames, wanted: float) -> Floats:
    """Of N pairs of slices the correlation of their detail at the best shift and scale, at most 1: (N,).

    The scale is searched in steps, and finer only where that may reach `wanted`. N slices are in memory as floats.
    """
    if not len(slices):
        return np.zeros(0)
    pictures = others.astype(np.float32)
    spectrum = np.conj(fft.rfft2(detail(slices, own)))
    tried = np.stack([_best_shift(spectrum, detail(pictures, theirs, scale)) for scale in _SCALES])
    best, scale = tried.max(0), _SCALES[tried.argmax(0)]
    close = np.flatnonzero(best >= wanted - _GAIN)
    for step in _FINER if len(close) else ():
        for factor in (np.exp(-step), np.exp(step)):
            now = _best_shift(spectrum[close], detail(pictures[close], theirs.at(close), scale[close] * factor))
            better = close[now > best[close]]
            best[close] = np.maximum(best[close], now)
            scale[better] *= factor
    return np.asarray(np.minimum(best, 1.0))


def _best_shift(spectrum: npt.NDArray[np.complexfloating], grids: Floats32) -> Floats:
    """The largest correlation over shifts, by the correlation theorem; what is shifted out comes in on the other side.

    Between cells it is the top of the parabolas through the best shift and its neighbours.
    """
    product = fft.irfft2(spectrum * fft.rfft2(grids), s=(GRID, GRID))
    wide = np.r_[-_SHIFT - 1 : _SHIFT + 2]
    near = product[:, wide[:, None], wide].astype(np.float64)
    side = len(wide) - 2
    row, column = np.divmod(near[:, 1:-1, 1:-1].reshape(len(near), -1).argmax(1), side)
    number, row, column = np.arange(len(near)), row + 1, column + 1
    top = near[number, row, column]
    return np.asarray(
        top
        + _rise(near[number, row - 1, column], top, near[number, row + 1, column])
        + _rise(near[number, row, column - 1], top, near[number, row, column + 1])
    )


def _rise(before: Floats, top: Floats, after: Floats) -> Floats:
    """How far the parabola through three neighbours rises above the middle one, where that is the highest."""
    bend = before - 2 * top + after
    rise = np.divide(-((before - after) ** 2), 8 * bend, out=np.zeros_like(top), where=bend < -1e-9)
    return np.where((top >= before) & (top >= after), rise, 0.0)
