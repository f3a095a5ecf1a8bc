"""Smooth random fields: the raw material of deformations, coil shading and lesion outlines."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
from scipy.interpolate import BSpline

Array = npt.NDArray[np.float32]


def smooth_field(rng: np.random.Generator, shape: tuple[int, int, int], knots: tuple[int, int, int]) -> Array:
    """A uniform cubic B-spline surface over random control points.

    Args:
        rng: the source of the control points.
        shape: (D, H, W) of the field.
        knots: control points along each axis, at least 4; more make a rougher field.

    Returns:
        float32 (D, H, W) with mean 0 and standard deviation 1.
    """
    field = rng.standard_normal(knots)
    for size, count in zip(shape, knots, strict=True):
        # Each turn replaces the first axis and moves it last, so three turns restore the order.
        field = np.tensordot(field, _basis(size, count), axes=(0, 1))
    field -= field.mean()
    return np.asarray(field / field.std(), dtype=np.float32)


def _basis(size: int, knots: int) -> npt.NDArray[np.float64]:
    """Weights (size, knots) of each control point at `size` equally spaced places."""
    places = np.linspace(0, knots - 3, size)
    weights: npt.NDArray[np.float64] = BSpline.design_matrix(places, np.arange(-3.0, knots + 1), 3).toarray()
    return weights
