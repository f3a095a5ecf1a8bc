"""How long backends take for a usual call, each beside the others."""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import TypeVar

import numpy as np

from pipeline.clinical.units import Units
from pipeline.inference.answers import Backend, Floats, Slices, each
from pipeline.inference.neighbours import BATCH

Name = TypeVar("Name")

#: Every backend has as many turns, so that one busy moment hits none of them alone; a turn's first call warms up.
_TURNS, _CALLS = 5, 4
#: A turn ends early after so many seconds.
_LONG_S = 2.0
#: Before a turn, so that the threads of the last backend, which wait awake for its next call, are asleep.
_REST_S = 0.05


def milliseconds(backends: Mapping[Name, Backend], slices: Slices, membership: Floats) -> dict[Name, float]:
    """The shortest call of each with these: what else a machine does can only make a call longer."""
    taken: dict[Name, list[float]] = {name: [] for name in backends}
    for _ in range(_TURNS):
        for name, backend in backends.items():
            time.sleep(_REST_S)
            taken[name] += _turn(backend, slices, membership)
    return {name: round(min(times), 3) for name, times in taken.items()}


def usual(slices: Slices, units: Units) -> tuple[Slices, Floats]:
    """A usual call: the slices of a unit of the median number of them; where slices are units, those of a patient.

    Args:
        slices: uint8 (N, size, size), of the units.
        units: U units.

    Returns:
        The M slices, and their membership of one unit, or of M.
    """
    alone = len(units.ids) == len(units.slice_units)
    owner = np.array(units.patients if alone else units.slice_units)
    names, counts = np.unique(owner, return_counts=True)
    chosen: Slices = slices[owner == names[np.argsort(counts, kind="stable")[len(counts) // 2]]]
    if alone:
        chosen = chosen[:BATCH]
        return chosen, each(len(chosen))
    return chosen, np.ones((1, len(chosen)), np.float32)


def _turn(backend: Backend, slices: Slices, membership: Floats) -> list[float]:
    begin = time.perf_counter()
    ends = [begin]
    for _ in range(_CALLS):
        backend.run(slices, membership)
        ends.append(time.perf_counter())
        if ends[-1] - begin > _LONG_S:
            break
    times = [1000 * float(value) for value in np.diff(ends)]
    return times[1:] or times
