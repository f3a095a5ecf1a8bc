"""How long backends take for a unit, each beside the others."""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import TypeVar

import numpy as np

from pipeline.clinical.units import Units
from pipeline.inference.answers import Backend, Slices

Name = TypeVar("Name")

#: Every backend has as many turns, so that one busy moment hits none of them alone; a turn's first call warms up.
_TURNS, _CALLS = 5, 4
#: A turn ends early after so many seconds.
_LONG_S = 2.0
#: Before a turn, so that the threads of the last backend, which wait awake for its next call, are asleep.
_REST_S = 0.05


def milliseconds(backends: Mapping[Name, Backend], slices: Slices) -> dict[Name, float]:
    """The shortest call of each with these slices as one unit: what else a machine does can only make a call longer."""
    whole = np.ones((1, len(slices)), np.float32)
    taken: dict[Name, list[float]] = {name: [] for name in backends}
    for _ in range(_TURNS):
        for name, backend in backends.items():
            time.sleep(_REST_S)
            taken[name] += _turn(backend, slices, whole)
    return {name: round(min(times), 3) for name, times in taken.items()}


def usual(slices: Slices, units: Units) -> Slices:
    """The slices of a unit of the median number of them."""
    names, counts = np.unique(np.array(units.slice_units), return_counts=True)
    chosen = names[np.argsort(counts, kind="stable")[len(counts) // 2]]
    found: Slices = slices[np.array(units.slice_units) == chosen]
    return found


def _turn(backend: Backend, slices: Slices, whole: np.ndarray) -> list[float]:
    begin = time.perf_counter()
    ends = [begin]
    for _ in range(_CALLS):
        backend.run(slices, whole)
        ends.append(time.perf_counter())
        if ends[-1] - begin > _LONG_S:
            break
    times = [1000 * float(value) for value in np.diff(ends)]
    return times[1:] or times
