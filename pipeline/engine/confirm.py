"""Whether the chosen rung of the precision ladder does for test patients what it did for validation patients."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pipeline.clinical.resampling import draw
from pipeline.clinical.units import Units
from pipeline.contract import Calibration, Precision, Runs
from pipeline.engine import ladder
from pipeline.errors import ContractError
from pipeline.files import read_json, sha256_file
from pipeline.inference.answers import Backend, Slices
from pipeline.inference.runtimes import PLAIN, start
from pipeline.targets import Targets

_AGAIN = "Run `dvc repro export`."


def confirm(
    folder: Path, units: Units, slices: Slices, fixed: Calibration, targets: Targets, confidence: float
) -> dict[str, Any]:
    """Section `precision` of reports/metrics.json: the chosen rung against fp32 on test units, by the same limits.

    Args:
        folder: models/export.
        units: U test units.
        slices: uint8 (N, size, size), of the units.
        fixed: calibration of the model.
        targets: what the labels mean.
        confidence: of the interval.

    Raises:
        ContractError: the graphs are of another model, or were changed since they were tried.
        EngineError: this machine cannot run the chosen rung.
    """
    climbed = _climbed(folder, fixed.model_sha256)
    files, runs = _files(folder, climbed), Runs.model_validate(climbed["runs"])
    drawn = draw(units.patients, 0, confidence, 0)
    limits = ladder.Asked(**climbed["asked"])
    judge = ladder.Judge(units, targets, fixed.threshold, drawn, limits, fixed.neighbours_sd)
    backend = start(files, runs)
    said = judge.say(backend, slices)
    reference = said if runs == PLAIN else judge.say(start(files, PLAIN), slices)
    change = judge.change(reference, said)
    return {
        **runs.model_dump(),
        "backend": backend.name,
        "confirmed": change.refused is None,
        "units": len(units.ids),
        **change.figures(),
    }


def chosen(folder: Path, model_sha256: str) -> Backend:
    """The rung that was chosen, loaded.

    Args:
        folder: models/export.
        model_sha256: of the weights that it must be of.

    Raises:
        ContractError, EngineError: as of `confirm`.
    """
    climbed = _climbed(folder, model_sha256)
    return start(_files(folder, climbed), Runs.model_validate(climbed["runs"]))


def _files(folder: Path, climbed: Mapping[str, Any]) -> dict[Precision, Path]:
    return {name: folder / made["file"] for name, made in climbed["graphs"].items()}


def _climbed(folder: Path, model_sha256: str) -> Mapping[str, Any]:
    """ladder.json, whose graphs are there and of this model."""
    exported, climbed = read_json(folder / "parity.json"), read_json(folder / "ladder.json")
    if exported["model_sha256"] != model_sha256:
        raise ContractError(
            f"graphs of the model {model_sha256[:12]}", f"those of {exported['model_sha256'][:12]}", _AGAIN
        )
    for made in climbed["graphs"].values():
        path = folder / made["file"]
        if not path.is_file() or sha256_file(path) != made["sha256"]:
            raise ContractError(f"{path} as the ladder tried it", "another content or no file", _AGAIN)
    found: Mapping[str, Any] = climbed
    return found
