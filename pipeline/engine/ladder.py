"""The precision ladder: what each cheaper way to run the graph changes for validation patients, and which is taken."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from pipeline.clinical.paired import auroc_difference
from pipeline.clinical.resampling import Estimate, Floats, Resamples
from pipeline.clinical.units import Units
from pipeline.inference.answers import Backend, Slices, each
from pipeline.targets import Targets, calls

#: Slices that are units by themselves, in one call.
_BATCH = 64
#: Calls of each rung that are timed, in turn with the others'; the first few warm up.
_CALLS, _WARM = 15, 3


@dataclass(frozen=True)
class Said:
    """What one backend says of U units: (U, K) probabilities and pooled logits."""

    probabilities: Floats
    logits: Floats


@dataclass(frozen=True)
class Rung:
    """One way to run the graph, against fp32 in ONNX Runtime on the same units.

    Attributes:
        backend: what ran, as it says itself.
        largest, mean: difference of a probability.
        auroc_change: its AUROC minus that of fp32, paired.
        flips: units whose decision changes.
        flips_outside: those of them whose fp32 probability is farther from the threshold than the band.
        milliseconds: median of one call with the slices of a usual unit.
        refused: why it may not be taken; None where it may.
    """

    backend: str
    largest: float
    mean: float
    auroc_change: Estimate
    flips: int
    flips_outside: int
    milliseconds: float
    refused: str | None

    def figures(self) -> dict[str, Any]:
        """As it stands in models/export/ladder.json."""
        return {**vars(self), "auroc_change": self.auroc_change.figures()}


@dataclass(frozen=True)
class Asked:
    """What a rung must keep to.

    Attributes:
        band: how near to the threshold a probability may lie for its decision to flip.
        auroc_change: the most that the lower end of the interval may lie below 0.
    """

    band: float
    auroc_change: float


def say(backend: Backend, slices: Slices, units: Units) -> Said:
    """Every unit answered as a box does: its slices in one call; slices that are units, some at a time.

    Args:
        backend: runs the graph.
        slices: uint8 (N, size, size), in the order of `units.slice_units`.
        units: U units.
    """
    owner = np.array(units.slice_units)
    if len(units.ids) == len(owner):
        parts = [slices[begin : begin + _BATCH] for begin in range(0, len(slices), _BATCH)]
        found = [backend.run(part, each(len(part))) for part in parts]
    else:
        mine = [slices[owner == unit] for unit in units.ids]
        found = [backend.run(part, np.ones((1, len(part)), np.float32)) for part in mine]
    probabilities = np.concatenate([answers.probabilities for answers in found]).astype(np.float64)
    return Said(probabilities, np.concatenate([answers.logits for answers in found]).astype(np.float64))


def compare(
    reference: Said,
    said: Said,
    units: Units,
    targets: Targets,
    threshold: float | list[float] | None,
    resamples: Resamples,
) -> dict[str, Any]:
    """The figures of a rung but for its time and its verdict, by the names of `Rung`."""
    off = np.abs(said.probabilities - reference.probabilities)
    flipped = (calls(said.probabilities, threshold) != calls(reference.probabilities, threshold)).any(axis=1)
    scores = [targets.scores(each_said.logits) for each_said in (said, reference)]
    return {
        "largest": float(off.max()),
        "mean": float(off.mean()),
        "auroc_change": auroc_difference(units.labels, scores[0], scores[1], resamples),
        "flips": int(flipped.sum()),
        "distance": _distance(reference.probabilities, threshold)[flipped],
    }


def climb(
    backends: Sequence[Backend],
    slices: Slices,
    units: Units,
    targets: Targets,
    threshold: float | list[float] | None,
    resamples: Resamples,
    asked: Asked,
) -> list[Rung]:
    """Each backend as a rung, in the order given; the first is the reference, fp32 in ONNX Runtime."""
    reference = say(backends[0], slices, units)
    took = times(backends, _usual(slices, units))
    rungs = []
    for backend, milliseconds in zip(backends, took, strict=True):
        said = reference if backend is backends[0] else say(backend, slices, units)
        found = compare(reference, said, units, targets, threshold, resamples)
        outside = int((found.pop("distance") > asked.band).sum())
        rungs.append(
            Rung(
                backend=backend.name,
                flips_outside=outside,
                milliseconds=milliseconds,
                refused=_refused(outside, found["auroc_change"], asked),
                **found,
            )
        )
    return rungs


def chosen(rungs: Sequence[Rung]) -> int:
    """The place of the fastest rung that may be taken; the reference always may."""
    return min((place for place, rung in enumerate(rungs) if rung.refused is None), key=lambda p: rungs[p].milliseconds)


def times(backends: Sequence[Backend], slices: Slices) -> list[float]:
    """Median milliseconds of a call of each with the slices of one unit, all in turn, so that noise hits all alike."""
    whole = np.ones((1, len(slices)), np.float32)
    taken = np.empty((_CALLS + _WARM, len(backends)))
    for row in taken:
        for place, backend in enumerate(backends):
            begin = time.perf_counter()
            backend.run(slices, whole)
            row[place] = 1000 * (time.perf_counter() - begin)
    return [float(value) for value in np.median(taken[_WARM:], axis=0)]


def _usual(slices: Slices, units: Units) -> Slices:
    """The slices of a unit of the median number of them."""
    names, counts = np.unique(np.array(units.slice_units), return_counts=True)
    usual = names[np.argsort(counts, kind="stable")[len(counts) // 2]]
    found: Slices = slices[np.array(units.slice_units) == usual]
    return found


def _distance(probabilities: Floats, threshold: float | list[float] | None) -> Floats:
    """How far each unit (U,) is from another decision: of several classes with thresholds, the nearest of them."""
    if threshold is None:
        ranked = np.sort(probabilities, axis=1)
        return np.asarray(ranked[:, -1] - ranked[:, -2])
    return np.asarray(np.abs(probabilities - np.asarray(threshold)).min(axis=1))


def _refused(outside: int, change: Estimate, asked: Asked) -> str | None:
    """Why a rung may not be taken; a ranking that no patient changes has no interval and is no change."""
    if outside:
        return f"{outside} decisions flip farther than {asked.band:g} from the threshold"
    least = change.value if np.isnan(change.low) else change.low
    if not least >= -asked.auroc_change:
        return f"AUROC may fall by {-least:.4f}, more than {asked.auroc_change:g}"
    return None
