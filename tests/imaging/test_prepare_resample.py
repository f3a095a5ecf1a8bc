"""The weights that resample one axis."""

from __future__ import annotations

import numpy as np
import pytest

from pipeline.imaging.resample import separable, weights


def test_equal_pixels_are_copied() -> None:
    assert np.allclose(weights(7, 0.0, 1.0, 7, 1.0), np.eye(7))


def test_finer_pixels_are_interpolated_linearly() -> None:
    ramp = np.arange(10.0)
    assert np.allclose(weights(10, 2.0, 1.0, 9, 0.5) @ ramp, 2 + 0.5 * np.arange(9))


@pytest.mark.parametrize("pixel", [1.7, 3.0, 4.4])
def test_coarser_pixels_keep_a_ramp_and_average_detail(pixel: float) -> None:
    matrix = weights(60, 20.0, 1.0, 4, pixel)
    assert np.allclose(matrix @ np.arange(60.0), 20 + pixel * np.arange(4), atol=0.1)
    assert np.abs(matrix @ (-1.0) ** np.arange(60)).max() < 0.15


def test_rows_add_up_to_one_inside_and_nothing_outside() -> None:
    sums = weights(10, -6.0, 1.0, 30, 1.0).sum(axis=1)
    assert np.allclose(sums[6:16], 1)
    assert np.allclose(sums[:5], 0)
    assert np.allclose(sums[18:], 0)


def test_separable_works_along_rows_and_columns() -> None:
    slices = np.random.default_rng(0).random((2, 5, 6), dtype=np.float32)
    rows, columns = weights(5, 0.0, 1.0, 3, 2.0), weights(6, 0.0, 1.0, 4, 1.5)
    expected = np.einsum("yh,dhw,xw->dyx", rows, slices, columns)
    assert np.allclose(separable(slices, rows, columns), expected, atol=1e-6)
