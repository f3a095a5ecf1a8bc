"""What the graph of a release says of units, answered as a box answers them."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from pipeline.clinical.resampling import Floats
from pipeline.clinical.units import Units
from pipeline.inference.answers import Backend, Slices
from pipeline.inference.neighbours import Call, calls


@dataclass(frozen=True)
class Said:
    """What one backend says of U units: (U, K) probabilities and pooled logits."""

    probabilities: Floats
    logits: Floats


def say(backend: Backend, slices: Slices, units: Units, neighbours_sd: float) -> Said:
    """Every unit answered as a box does: its slices in one call; slices that are units, some at a time.

    Args:
        backend: runs the graph.
        slices: uint8 (N, size, size), in the order of `units.slice_units`.
        units: U units.
        neighbours_sd: see `calibrator.Calibration`.
    """
    owner = np.array(units.slice_units)
    if len(units.ids) == len(owner):
        asked = list(calls(units.places or [("", place) for place in range(len(owner))], neighbours_sd))
    else:
        mine = [np.flatnonzero(owner == unit) for unit in units.ids]
        asked = [Call(np.array([unit]), own, np.ones((1, len(own)), np.float32)) for unit, own in enumerate(mine)]
    probabilities = np.empty(units.labels.shape)
    logits = np.empty(units.labels.shape)
    for call in asked:
        answers = backend.run(slices[call.given], call.membership)
        probabilities[call.wanted], logits[call.wanted] = answers.probabilities, answers.logits
    return Said(probabilities, logits)
