"""Made-up slices that look enough like heads to be told apart: an ellipse with a skull and random folds."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
from scipy import ndimage


def head(seed: int, size: int = 64, brightness: float = 1.0) -> npt.NDArray[np.uint8]:
    """The slice of one patient, uint8 (size, size)."""
    rng = np.random.default_rng([seed, 77])
    y, x = np.mgrid[-1 : 1 : size * 1j, -1 : 1 : size * 1j]
    radius = np.hypot(y / (0.62 + 0.06 * rng.random()), x / (0.5 + 0.06 * rng.random()))
    folds = ndimage.gaussian_filter(rng.normal(size=(size, size)), size / 40)
    inside = 0.5 + 0.25 * folds / folds.std()
    picture = np.where(radius < 0.85, inside, np.where(radius < 1, 0.9, 0.02))
    return np.clip(brightness * 170 * ndimage.gaussian_filter(picture, 0.6), 0, 255).astype(np.uint8)


def rescaled(picture: npt.NDArray[np.uint8], zoom: float, shift: tuple[float, float] = (0, 0)) -> npt.NDArray[np.uint8]:
    """The picture `zoom` as large in a frame of the same size, moved by `shift` pixels."""
    middle = (np.array(picture.shape) - 1) / 2
    offset = middle - (middle + np.array(shift)) / zoom
    moved = ndimage.affine_transform(picture.astype(float), np.full(2, 1 / zoom), offset=offset, order=1)
    return np.clip(np.rint(moved), 0, 255).astype(np.uint8)
