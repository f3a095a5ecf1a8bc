"""The precision ladder: what each cheaper way to run the graph changes for patients, and which one is taken."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from pipeline.clinical.paired import auroc_difference
from pipeline.clinical.resampling import Estimate, Resamples
from pipeline.clinical.said import Said, say
from pipeline.clinical.units import Units
from pipeline.contract import Runs
from pipeline.inference.answers import Backend, Slices
from pipeline.targets import Targets, decided, margin

#: Rungs whose times differ by no more than this share of the shortest count as equally fast: clocks are no better.
_ALIKE = 0.05
#: Tried for what it tells of the roundings of the fp16 graph; ONNX Runtime has hardly any kernels for it on a CPU.
_TOLD_ONLY = Runs(runtime="onnxruntime", precision="fp16")


@dataclass(frozen=True)
class Asked:
    """What a rung must keep to.

    Attributes:
        band: how near to the threshold a probability may lie for its decision to flip.
        auroc_change: the most by which AUROC may fall.
    """

    band: float
    auroc_change: float


@dataclass(frozen=True)
class Change:
    """What a rung changes on some units, against the reference.

    Attributes:
        largest, mean: difference of a probability.
        auroc_change: its AUROC minus that of the reference, paired.
        flips: units whose decision changes.
        flips_outside: those of them whose probability by the reference is farther from the threshold than the band.
        refused: why the rung may not be taken; None where it may.
    """

    largest: float
    mean: float
    auroc_change: Estimate
    flips: int
    flips_outside: int
    refused: str | None

    def figures(self) -> dict[str, Any]:
        """As it stands in ladder.json and in reports/metrics.json."""
        rounded = {name: round(getattr(self, name), 6) for name in ("largest", "mean")}
        return {**vars(self), **rounded, "auroc_change": self.auroc_change.figures()}


@dataclass(frozen=True)
class Judge:
    """What all rungs are judged by.

    Attributes:
        units: U units.
        targets: what their labels mean.
        threshold: see `calibrator.Calibration`.
        resamples: of their patients.
        asked: of a rung.
        neighbours_sd: see `calibrator.Calibration`.
    """

    units: Units
    targets: Targets
    threshold: float | list[float] | None
    resamples: Resamples
    asked: Asked
    neighbours_sd: float = 0.0

    def say(self, backend: Backend, slices: Slices) -> Said:
        """What a backend says of the units."""
        return say(backend, slices, self.units, self.neighbours_sd)

    def change(self, reference: Said, said: Said) -> Change:
        """What `said` changes of `reference`."""
        off = np.abs(said.probabilities - reference.probabilities)
        called, before = (decided(one.probabilities, self.threshold) for one in (said, reference))
        flipped = (called != before).any(axis=1)
        outside = int((margin(reference.probabilities, self.threshold)[flipped] > self.asked.band).sum())
        scores = [self.targets.scores(one.logits) for one in (said, reference)]
        change = auroc_difference(self.units.labels, scores[0], scores[1], self.resamples)
        refused = None if _alike(reference, said) else _refused(said, outside, change, self.asked)
        return Change(float(off.max()), float(off.mean()), change, int(flipped.sum()), outside, refused)


@dataclass(frozen=True)
class Rung:
    """One way to run the graph, on validation units.

    Attributes:
        runs: runtime and precision.
        backend: what ran, as it says itself; None where nothing did.
        change: against the reference; None where it did not run.
        milliseconds: the shortest of some usual calls (`timing.usual`); None where it did not run.
        not_run: why; None where it ran.
    """

    runs: Runs
    backend: str | None = None
    change: Change | None = None
    milliseconds: float | None = None
    not_run: str | None = None

    @property
    def allowed(self) -> bool:
        """It ran, and what it changes is little enough."""
        return self.change is not None and self.change.refused is None

    def figures(self) -> dict[str, Any]:
        """As it stands in ladder.json."""
        shown = {**asdict(self), **self.runs.model_dump()}
        del shown["runs"], shown["change"]
        return shown | ({} if self.change is None else self.change.figures())


def chosen(rungs: Sequence[Rung]) -> Runs:
    """The fastest rung that may be taken; of those as fast the first, which is the most exact.

    The first is the reference and may always be taken.
    """
    may = [rung for rung in rungs if rung.allowed and rung.runs != _TOLD_ONLY]
    timed = [(rung.milliseconds, rung.runs) for rung in may if rung.milliseconds is not None]
    limit = (1 + _ALIKE) * min(milliseconds for milliseconds, _ in timed)
    return next(runs for milliseconds, runs in timed if milliseconds <= limit)


def line(rung: Rung) -> str:
    """A rung for the log."""
    name = f"{rung.runs.runtime} {rung.runs.precision}"
    if rung.change is None:
        return f"{name}: not run: {rung.not_run}"
    change = rung.change
    said = f"{name}: {rung.milliseconds:.2f} ms, largest difference {change.largest:.4f}, {change.flips} flips"
    return f"{said}: refused, {change.refused}" if change.refused else said


def _alike(one: Said, other: Said) -> bool:
    """What answers alike changes nothing, whatever the units."""
    both = zip((one.probabilities, one.logits), (other.probabilities, other.logits), strict=True)
    return all(np.array_equal(*pair) for pair in both)


def _refused(said: Said, outside: int, change: Estimate, asked: Asked) -> str | None:
    """Why a rung may not be taken.

    The fall of AUROC itself counts, not the end of its interval: whatever the patients, a rung that moves no
    probability by more than a thousandth may swap a pair of them, and of few patients that makes a wide interval.
    """
    if not (np.isfinite(said.probabilities).all() and np.isfinite(said.logits).all()):
        return "an answer is no number"
    if outside:
        flips = "1 decision flips" if outside == 1 else f"{outside} decisions flip"
        return f"{flips} farther than {asked.band:g} from the threshold"
    if np.isnan(change.value):
        return f"the change of AUROC is undefined: {change.reason}"
    if change.value < -asked.auroc_change:
        return f"AUROC falls by {-change.value:.4g}, more than {asked.auroc_change:g}"
    return None
