"""Slices of a simulated patient as a box prepares them, and the calls that an engine is compared on."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from pipeline.config import Demo
from pipeline.contract import Transform
from pipeline.demo.cohort import cohort
from pipeline.demo.simulate import images
from pipeline.imaging.prepare import prepare
from pipeline.imaging.volume import Volume
from pipeline.inference.answers import Floats, Slices, each

#: Slices in one call at most: more would cost minutes on a slow processor and show nothing new.
MOST = 64


def slices(demo: Demo, seed: int, transform: Transform) -> Slices:
    """The first series of a patient with a lesion whom the demo does not have, uint8 (N, size, size)."""
    rng = np.random.default_rng([seed, 7])
    patient = next(one for one in cohort(demo, seed + 1) if one.finding is not None)
    made = next(images(patient, rng))
    return prepare(Volume(made.stored.astype(np.float32), made.grid.affine_lps), transform)


def calls(count: int, usual: int, most: int, alone: bool) -> list[tuple[Sequence[int], Floats]]:
    """Places among `count` slices, and units: one slice, an odd few of two units, a usual unit, and many.

    Args:
        count: of slices there are; beyond it they come again.
        usual, most: in one call of the engine.
        alone: each slice is a unit by itself.
    """
    found: list[tuple[Sequence[int], Floats]] = []
    for number in sorted({1, min(3, most), min(usual, MOST), min(most, MOST)}):
        places = [place % count for place in range(number)]
        if alone:
            found.append((places, each(number)))
            continue
        found.append((places, np.ones((1, number), np.float32)))
        if number == 3:
            found.append((places, np.array([[1, 0, 1], [0, 1, 0]], np.float32)))
    return found
