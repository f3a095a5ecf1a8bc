"""Smooth random fields."""

from __future__ import annotations

import numpy as np
import pytest

from pipeline.demo.fields import smooth_field


def test_it_has_the_shape_mean_and_spread_that_it_promises() -> None:
    field = smooth_field(np.random.default_rng(0), (9, 40, 30), (4, 6, 5))
    assert field.shape == (9, 40, 30)
    assert field.dtype == np.float32
    assert field.mean() == pytest.approx(0, abs=1e-5)
    assert field.std() == pytest.approx(1, abs=1e-5)


def test_more_knots_make_it_rougher() -> None:
    def roughness(knots: int) -> float:
        field = smooth_field(np.random.default_rng(1), (4, 64, 64), (4, knots, knots))
        return float(np.abs(np.diff(field, axis=2)).mean())

    assert roughness(5) < 0.5 * roughness(16) < 0.5


def test_axes_are_not_confused() -> None:
    field = smooth_field(np.random.default_rng(2), (48, 48, 48), (4, 8, 20))
    steps = [float(np.abs(np.diff(field, axis=axis)).mean()) for axis in range(3)]
    assert steps == sorted(steps)


def test_equal_seeds_give_equal_fields() -> None:
    one, two = (smooth_field(np.random.default_rng(3), (5, 6, 7), (4, 4, 4)) for _ in range(2))
    assert (one == two).all()
