"""The rungs of the precision ladder: graphs of fewer bits, what each answers for validation units, which one runs."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

import onnx

from pipeline.contract import Precision, Runs
from pipeline.engine import ladder, sensitivity, timing
from pipeline.engine.half import half
from pipeline.engine.quantise import quantise, restored
from pipeline.errors import EngineError
from pipeline.files import sha256_file, write_atomic
from pipeline.inference.answers import Backend, Slices
from pipeline.inference.runtimes import PLAIN, start
from pipeline.progress import say, track

#: From the most exact to the least.
ALL = tuple(
    Runs.model_validate(dict(zip(("runtime", "precision"), name.split(), strict=True)))
    for name in (
        *("onnxruntime fp32", "openvino fp32", "openvino bf16", "onnxruntime fp16", "openvino fp16"),
        *("onnxruntime int8", "openvino int8", "openvino int8+bf16"),
    )
)
#: Training slices by which the sensitivity of layers is measured, at most.
_SENSED = 64
_SAID = "export: rungs of the precision ladder"


def wanted(names: Sequence[str] | None) -> list[Runs]:
    """The rungs of `export.precision.rungs`, and the reference, in the ladder's order."""
    return [runs for runs in ALL if names is None or runs == PLAIN or _name(runs) in names]


@dataclass(frozen=True)
class Climbed:
    """What came of the ladder.

    Attributes:
        rungs: those that were tried, in their order; the first is the reference.
        files: the graphs that are there, all of the same inputs and outputs.
        int8: how its graph came to be, see `_quantised`; None where none was asked for.
    """

    rungs: list[ladder.Rung]
    files: dict[Precision, Path]
    int8: dict[str, Any] | None

    @property
    def released(self) -> list[Precision]:
        """Precisions beside fp32 in which validation patients were answered as they must be, whatever ran them."""
        ran = {
            name: [rung for rung in self.rungs if rung.change and rung.runs.precision == name] for name in self.files
        }
        kept = [name for name, rungs in ran.items() if rungs and all(rung.allowed for rung in rungs)]
        return [name for name in kept if name != "fp32"]

    def figures(self) -> dict[str, Any]:
        """As it stands in ladder.json."""
        graphs = {name: {"file": path.name, "sha256": sha256_file(path)} for name, path in self.files.items()}
        return {
            "runs": ladder.chosen(self.rungs).model_dump(),
            "rungs": [rung.figures() for rung in self.rungs],
            "graphs": graphs,
            "released": self.released,
            "int8": self.int8,
        }


class Climb:
    """One graph on its ladder."""

    def __init__(self, folder: Path, judge: ladder.Judge, slices: Slices, training: Slices) -> None:
        """Load the reference and have it answer.

        Args:
            folder: where model.onnx is, and the other graphs come.
            judge: of the rungs.
            slices: uint8 (N, size, size), of the judge's units.
            training: uint8 (M, size, size), by which int8 is calibrated.
        """
        self.files: dict[Precision, Path] = {"fp32": folder / "model.onnx"}
        self._folder, self._judge, self._slices, self._training = folder, judge, slices, training
        self._graph = onnx.load(self.files["fp32"])
        self._backends: dict[str, Backend] = {}
        self._reference = judge.say(start(self.files, PLAIN), slices)
        self._unmade: dict[Precision, str] = {}

    def run(self, asked: Sequence[Runs]) -> Climbed:
        """Try these rungs, of which the first is the reference."""
        halves: tuple[Literal["fp16", "bf16"], ...] = ("fp16", "bf16")
        for precision in halves:
            if any(runs.precision == precision for runs in asked):
                self._halve(precision)
        rungs = [self._try(runs) for runs in track([runs for runs in asked if "int8" not in runs.precision], _SAID)]
        last = [runs for runs in asked if "int8" in runs.precision]
        judges = [runs for runs in last if runs.precision == "int8"] or last
        found, int8 = self._quantised(judges) if last else ([], None)
        rungs += [*found, *(self._try(runs) for runs in last if runs not in judges)]
        took = timing.milliseconds(self._backends, *timing.usual(self._slices, self._judge.units))
        return Climbed([replace(rung, milliseconds=took.get(_name(rung.runs))) for rung in rungs], self.files, int8)

    def _halve(self, precision: Literal["fp16", "bf16"]) -> None:
        try:
            self._write(precision, half(self._graph, precision))
        except EngineError as error:
            self._unmade[precision] = f"{error.expected} were needed, and there are {error.found}"

    def _write(self, precision: Precision, graph: onnx.ModelProto) -> None:
        path = self._folder / f"model_{precision}.onnx"
        write_atomic(path, lambda handle: handle.write(graph.SerializeToString(deterministic=True)))
        self.files[precision] = path

    def _try(self, runs: Runs) -> ladder.Rung:
        """One rung without its time; why it does not run, where this machine cannot."""
        if runs.precision in self._unmade:
            return ladder.Rung(runs, not_run=self._unmade[runs.precision])
        try:
            backend = start(self.files, runs)
        except EngineError as error:
            self._backends.pop(_name(runs), None)
            return ladder.Rung(runs, not_run=f"{error.found}, where {error.expected} is asked for")
        self._backends[_name(runs)] = backend
        said = self._reference if runs == PLAIN else self._judge.say(backend, self._slices)
        return ladder.Rung(runs, backend.name, self._judge.change(self._reference, said))

    def _quantised(self, asked: Sequence[Runs]) -> tuple[list[ladder.Rung], dict[str, Any]]:
        """These rungs, of an int8 graph with as few layers in float as let them be taken, and how that was found.

        First all layers are in int8; while a rung is refused, the most sensitive go back to float, one, two, four, ...
        """
        whole, parts = quantise(self._graph, self._training), sensitivity.layers(self._graph)
        order: list[tuple[sensitivity.Layer, float]] = []
        tries: list[dict[str, Any]] = []
        count = 0
        while True:
            names = [name for part, _ in order[:count] for name in part.nodes]
            self._write("int8", restored(whole, self._graph, names) if names else whole)
            rungs = [self._try(runs) for runs in asked]
            refused = [rung.change.refused for rung in rungs if rung.change is not None and rung.change.refused]
            tries.append({"left_in_float": count, "refused": refused[0] if refused else None})
            say(f"export: int8, {count} of {len(parts)} layers in float: {refused[0] if refused else 'may be taken'}")
            count = max(1, 2 * count)
            if not refused or count >= len(parts):
                break
            order = order or sensitivity.by_error(whole, self._graph, self._training[:_SENSED], parts)
        left = [
            {"layer": part.name, "error": round(error, 6)} for part, error in order[: int(tries[-1]["left_in_float"])]
        ]
        return rungs, {
            "layers": len(parts),
            "left_in_float": left,
            "tries": tries,
            "calibrated_on": len(self._training),
        }


def _name(runs: Runs) -> str:
    return f"{runs.runtime} {runs.precision}"
