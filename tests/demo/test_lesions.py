"""Lesions have the volume that was asked for and lie in the brain."""

from __future__ import annotations

import numpy as np
import pytest

from pipeline.demo import lesions


@pytest.mark.parametrize("volume_ml", [2.0, 8.0, 30.0, 80.0])
def test_the_volume_is_the_one_asked_for(sampled, volume_ml: float) -> None:
    drawn = [lesions.draw(np.random.default_rng(seed), sampled.tissue, sampled.grid, volume_ml) for seed in range(6)]
    volumes = [lesions.measured_ml(lesion, sampled.grid) for lesion in drawn]
    # Lesions of one patient may overlap, and edges fade, so single ones stray.
    assert np.mean(volumes) == pytest.approx(volume_ml, rel=0.25)


def test_they_stay_in_the_brain(sampled) -> None:
    lesion = lesions.draw(np.random.default_rng(1), sampled.tissue, sampled.grid, 20.0)
    brain = sampled.tissue["gm"] + sampled.tissue["wm"]
    assert ((lesion.rim + lesion.core) <= brain + 1e-5).all()


def test_some_are_rings_whose_core_lies_inside(sampled) -> None:
    drawn = [lesions.draw(np.random.default_rng(seed), sampled.tissue, sampled.grid, 20.0) for seed in range(12)]
    rings = [lesion for lesion in drawn if lesion.core.sum() > 0]
    assert 2 <= len(rings) <= 11
    assert all(0.02 < ring.core.sum() / (ring.core + ring.rim).sum() < 0.5 for ring in rings)


def test_small_ones_are_never_rings(sampled) -> None:
    for seed in range(10):
        assert lesions.draw(np.random.default_rng(seed), sampled.tissue, sampled.grid, 1.0).core.sum() == 0
