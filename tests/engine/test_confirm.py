"""Test patients by the chosen rung: the figures of the ladder, and graphs that it did not try refused."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest

from pipeline.clinical.units import Units
from pipeline.contract import Calibration
from pipeline.engine import quantise
from pipeline.engine.confirm import confirm
from pipeline.engine.export import export
from pipeline.engine.graph import ReleaseGraph
from pipeline.errors import ContractError, EngineError
from pipeline.files import sha256_file, write_json
from pipeline.inference.answers import each
from pipeline.inference.backends import OnnxRuntime
from pipeline.targets import BINARY
from tests.small_network import SIZE, calibration

SLICES = np.random.default_rng(5).integers(0, 256, (24, SIZE, SIZE), dtype=np.uint8)
IDS = [f"u{place}" for place in range(24)]
UNITS = Units(IDS, IDS, np.arange(24)[:, None] % 2, np.arange(24), IDS)
FIXED: Calibration = calibration(model_sha256="ab" * 32)


@pytest.fixture(scope="module")
def graphs(network: ReleaseGraph, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("export")
    export(network, SIZE, 20, folder / "model.onnx")
    int8 = quantise.quantise(onnx.load(folder / "model.onnx"), SLICES)
    (folder / "model_int8.onnx").write_bytes(int8.SerializeToString(deterministic=True))
    write_json(folder / "parity.json", {"model_sha256": FIXED.model_sha256})
    return folder


def climbed(folder: Path, runs: dict[str, str], **asked: float) -> None:
    files = {"fp32": "model.onnx", "int8": "model_int8.onnx"}
    made = {name: {"file": file, "sha256": sha256_file(folder / file)} for name, file in files.items()}
    write_json(folder / "ladder.json", {"runs": runs, "graphs": made, "asked": {"band": 1, "auroc_change": 1} | asked})


def confirmed(folder: Path, fixed: Calibration = FIXED, units: Units = UNITS) -> dict[str, Any]:
    return confirm(folder, units, SLICES, fixed, BINARY, 0.95)


INT8 = {"runtime": "onnxruntime", "precision": "int8"}


def test_the_figures_are_those_of_the_chosen_graph(graphs: Path) -> None:
    climbed(graphs, INT8)
    found = confirmed(graphs)
    told = [
        OnnxRuntime(graphs / name).run(SLICES, each(24)).probabilities for name in ("model.onnx", "model_int8.onnx")
    ]
    assert found["largest"] == pytest.approx(np.abs(told[1] - told[0]).max(), abs=1e-6)
    assert found["flips"] == ((told[1] >= 0.5) != (told[0] >= 0.5)).sum()
    assert (found["confirmed"], found["refused"], found["units"]) == (True, None, 24)
    assert found["backend"].endswith("int8")


def test_limits_of_the_ladder_that_test_patients_miss_are_no_confirmation(graphs: Path) -> None:
    climbed(graphs, INT8, auroc_change=0)
    either = [confirmed(graphs, units=replace(UNITS, labels=labels)) for labels in (UNITS.labels, 1 - UNITS.labels)]
    found = min(either, key=lambda told: told["auroc_change"]["value"])
    assert found["auroc_change"]["value"] < 0
    assert found["confirmed"] is False
    assert found["refused"].startswith("AUROC falls by")


def test_fp32_confirms_itself(graphs: Path) -> None:
    climbed(graphs, {"runtime": "onnxruntime", "precision": "fp32"}, auroc_change=0, band=0)
    found = confirmed(graphs)
    assert (found["confirmed"], found["largest"], found["flips"]) == (True, 0, 0)


def test_graphs_of_another_model_and_changed_ones_are_refused(graphs: Path, tmp_path: Path) -> None:
    climbed(graphs, INT8)
    with pytest.raises(ContractError, match="graphs of the model cdcd.* found those of abab.*dvc repro export"):
        confirmed(graphs, calibration(model_sha256="cd" * 32))
    for path in graphs.iterdir():
        (tmp_path / path.name).write_bytes(path.read_bytes())
    (tmp_path / "model_int8.onnx").write_bytes((graphs / "model.onnx").read_bytes())
    with pytest.raises(ContractError, match=r"model_int8\.onnx as the ladder tried it; found another content"):
        confirmed(tmp_path)


def test_a_machine_that_cannot_run_it_confirms_nothing(graphs: Path) -> None:
    climbed(graphs, {"runtime": "openvino", "precision": "int8"})
    (graphs / "model_int8.onnx").rename(graphs / "kept")
    (graphs / "model_int8.onnx").write_bytes((graphs / "model.onnx").read_bytes())
    climbed(graphs, {"runtime": "openvino", "precision": "int8"})
    with pytest.raises(EngineError, match="run in int8 on this processor"):
        confirmed(graphs)
    (graphs / "kept").rename(graphs / "model_int8.onnx")
