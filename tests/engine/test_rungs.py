"""The ladder of a small network: what runs, what is put back into float, what a release may hold."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import numpy.typing as npt
import onnx
import pytest

from pipeline.clinical.resampling import draw
from pipeline.clinical.units import Units
from pipeline.engine import ladder, quantise, rungs, sensitivity
from pipeline.engine.export import export
from pipeline.engine.graph import ReleaseGraph
from pipeline.inference.answers import each
from pipeline.inference.backends import OnnxRuntime
from pipeline.targets import BINARY
from tests.small_network import SIZE

SLICES = np.random.default_rng(5).integers(0, 256, (24, SIZE, SIZE), dtype=np.uint8)
IDS = [f"u{place}" for place in range(24)]
LABELS = np.arange(24)[:, None] % 2


@pytest.fixture(scope="module")
def exported(network: ReleaseGraph, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("graph") / "model.onnx"
    export(network, SIZE, 20, path)
    return path


@pytest.fixture
def folder(exported: Path, tmp_path: Path) -> Path:
    (tmp_path / "model.onnx").write_bytes(exported.read_bytes())
    return tmp_path


def judge(
    band: float, auroc_change: float, threshold: float = 0.5, labels: npt.NDArray[np.int64] = LABELS
) -> ladder.Judge:
    units = Units(IDS, IDS, labels, np.arange(24), IDS)
    return ladder.Judge(units, BINARY, threshold, draw(IDS, 0, 0.95, 0), ladder.Asked(band, auroc_change))


def climb(folder: Path, judge: ladder.Judge, *names: str) -> rungs.Climbed:
    return rungs.Climb(folder, judge, SLICES, SLICES).run(rungs.wanted(names))


def logits(graph: onnx.ModelProto | Path, tmp_path: Path) -> npt.NDArray[np.float32]:
    path = graph if isinstance(graph, Path) else tmp_path / "tried.onnx"
    if not isinstance(graph, Path):
        path.write_bytes(graph.SerializeToString())
    return OnnxRuntime(path).run(SLICES, each(24)).logits


def off(some: npt.NDArray[np.float32], others: npt.NDArray[np.float32]) -> float:
    """The root mean square of the difference, by which layers are sensitive or not."""
    return float(np.sqrt(np.mean((some - others) ** 2)))


def test_rungs_stand_in_the_ladders_order_and_the_reference_is_always_there() -> None:
    assert rungs.wanted(None) == list(rungs.ALL)
    found = rungs.wanted(["openvino int8", "openvino fp32"])
    assert [f"{runs.runtime} {runs.precision}" for runs in found] == [
        "onnxruntime fp32",
        "openvino fp32",
        "openvino int8",
    ]


def test_every_rung_runs_or_says_why_not(folder: Path) -> None:
    found = rungs.Climb(folder, judge(1, 1), SLICES, SLICES).run(list(rungs.ALL))
    assert [rung.runs for rung in found.rungs] == list(rungs.ALL)
    for rung in found.rungs:
        if rung.change is None:
            assert rung.not_run
            assert "on this processor is asked for" in rung.not_run
        else:
            assert rung.milliseconds
            assert rung.backend
            assert rung.backend.endswith(rung.runs.precision)
    largest = {rung.runs.precision: rung.change.largest for rung in found.rungs if rung.change}
    assert largest["fp32"] < 1e-5 < largest["fp16"] < largest["int8"]
    assert set(found.files) == {"fp32", "fp16", "bf16", "int8"}
    assert "int8" in found.released
    assert "fp32" not in found.released


def test_the_most_sensitive_layers_go_back_to_float_until_it_may_be_taken(folder: Path, tmp_path: Path) -> None:
    whole = climb(folder, judge(1, 1), "onnxruntime int8")
    assert whole.int8
    assert whole.int8["left_in_float"] == []
    graph, every = onnx.load(folder / "model.onnx"), onnx.load(whole.files["int8"])
    before = off(logits(every, tmp_path), logits(folder / "model.onnx", tmp_path))
    # A threshold that int8 carries one unit over, and float does not.
    told = [
        OnnxRuntime(folder / name).run(SLICES, each(24)).probabilities for name in ("model.onnx", "model_int8.onnx")
    ]
    worst = int(np.abs(told[1] - told[0]).argmax())
    between = float((told[0][worst, 0] + told[1][worst, 0]) / 2)
    found = climb(folder, judge(0, 1, between), "onnxruntime int8")
    assert found.int8
    counts = [tried["left_in_float"] for tried in found.int8["tries"]]
    assert counts == [0, 1, 2, 4, 8, 16, 32][: len(counts)]
    assert [bool(tried["refused"]) for tried in found.int8["tries"]] == [True] * (len(counts) - 1) + [False]
    assert found.released == ["int8"]
    errors = [left["error"] for left in found.int8["left_in_float"]]
    assert len(errors) == counts[-1]
    assert errors == sorted(errors, reverse=True)
    parts = sensitivity.layers(graph)
    assert len(parts) == found.int8["layers"]
    assert off(logits(found.files["int8"], tmp_path), logits(folder / "model.onnx", tmp_path)) < before
    assert found.files["int8"].stat().st_size > every.ByteSize()


def test_a_layer_alone_does_less_than_all_and_the_first_named_does_most(folder: Path, tmp_path: Path) -> None:
    graph = onnx.load(folder / "model.onnx")
    whole, parts = quantise.quantise(graph, SLICES), sensitivity.layers(graph)
    behind = quantise.behind_stem(graph)
    assert sorted(name for part in parts for name in part.nodes) == sorted(node.name for node in behind)
    assert len(behind) < len(quantise.trunk(graph))
    assert all(part.name in part.nodes for part in parts)
    found = sensitivity.by_error(whole, graph, SLICES, parts)
    expected, every = logits(graph, tmp_path), {name for part in parts for name in part.nodes}
    for part, error in found[:2]:
        alone = logits(quantise.restored(whole, graph, every - set(part.nodes)), tmp_path)
        assert error == pytest.approx(float(np.sqrt(np.mean((alone - expected) ** 2))), rel=1e-5)
    assert [error for _, error in found] == sorted((error for _, error in found), reverse=True)


def test_a_precision_that_is_refused_is_in_no_release(folder: Path) -> None:
    found = climb(folder, judge(1, 1, labels=np.ones_like(LABELS)), "onnxruntime int8")  # AUROC is undefined
    assert found.int8
    counts = [tried["left_in_float"] for tried in found.int8["tries"]]
    assert counts == [0, 1, 2, 4, 8]
    assert counts[-1] < found.int8["layers"] <= 2 * counts[-1]
    assert found.rungs[1].change
    assert found.rungs[1].change.refused
    assert found.released == []
    assert found.figures()["runs"] == {"runtime": "onnxruntime", "precision": "fp32"}


def test_weights_that_fp16_cannot_hold_are_a_reason_and_no_end(folder: Path) -> None:
    graph = onnx.load(folder / "model.onnx")
    conv = next(node for node in quantise.trunk(graph) if node.op_type == "Conv")
    weights = next(value for value in graph.graph.initializer if value.name == conv.input[1])
    weights.CopyFrom(onnx.numpy_helper.from_array(onnx.numpy_helper.to_array(weights) * np.float32(1e7), weights.name))
    (folder / "model.onnx").write_bytes(graph.SerializeToString())
    found = climb(folder, judge(1, 1), "onnxruntime fp16")
    assert found.rungs[1].not_run
    assert "finite in fp16" in found.rungs[1].not_run
    assert set(found.files) == {"fp32"}
