"""A small cohort, and one head sampled on its slices."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest

from pipeline import config
from pipeline.demo.anatomy import Array, Grid, Head, fractions
from pipeline.demo.cohort import grid


@dataclass(frozen=True)
class Sampled:
    """A template head, neither turned nor warped."""

    grid: Grid
    tissue: dict[str, Array]


@pytest.fixture(scope="session")
def shipped(root: Path) -> config.Params:
    return config.load(root / "params.yaml")


@pytest.fixture(scope="session")
def sampled() -> Sampled:
    place = grid((20, 110, 110), np.eye(3), (7.0, 2.0))
    still = Head((1.0, 1.0, 1.0), (0.0, 0.0, 0.0), (0.0, 0.0, 0.0), 0.0, 5.0, 4.0)
    return Sampled(place, fractions(np.random.default_rng(0), place, still))
