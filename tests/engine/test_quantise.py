"""The int8 graph: in every runtime, its layers in int8 but for those that are left in float."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import numpy.typing as npt
import onnx
import pytest

from pipeline.engine import quantise
from pipeline.errors import EngineError
from pipeline.inference import gpu, tensorrt
from pipeline.inference.answers import each
from pipeline.inference.backends import OnnxRuntime
from pipeline.inference.openvino import OpenVino
from tests.small_network import SIZE


@pytest.fixture(scope="module")
def slices() -> npt.NDArray[np.uint8]:
    return np.random.default_rng(5).integers(0, 256, (24, SIZE, SIZE), dtype=np.uint8)


@pytest.fixture(scope="module")
def int8(graph: onnx.ModelProto, slices: npt.NDArray[np.uint8]) -> onnx.ModelProto:
    return quantise.quantise(graph, slices)


def written(graph: onnx.ModelProto, folder: Path) -> Path:
    path = folder / "graph.onnx"
    path.write_bytes(graph.SerializeToString(deterministic=True))
    return path


def test_it_is_near_the_graph_and_a_quarter_of_its_size(graph, int8, slices, tmp_path: Path) -> None:
    expected = OnnxRuntime(written(graph, tmp_path)).run(slices, each(len(slices)))
    backend = OnnxRuntime(written(int8, tmp_path))
    found = backend.run(slices, each(len(slices)))
    assert 0 < np.abs(found.logits - expected.logits).max() < 0.5 * expected.logits.std()
    assert int8.ByteSize() < 0.35 * graph.ByteSize()
    onnx.checker.check_model(int8, full_check=True)


def test_only_the_trunk_is_quantised_and_symmetrically(int8: onnx.ModelProto) -> None:
    made = {name: node for node in int8.graph.node for name in node.output}
    constants = {value.name: onnx.numpy_helper.to_array(value) for value in int8.graph.initializer}
    for node in int8.graph.node:
        if node.op_type in ("QuantizeLinear", "DequantizeLinear"):
            assert not constants[node.input[2]].any(), "zero points are zero"
            assert constants[node.input[2]].dtype == np.int8, "no int32 biases"
    last = [node for node in int8.graph.node if node.op_type == "Gemm"]
    assert [made[name].op_type for node in last for name in node.input if name in made] != []
    assert "DequantizeLinear" not in [made[name].op_type for node in last for name in node.input if name in made]


def test_the_stem_stays_in_float(graph: onnx.ModelProto, int8: onnx.ModelProto) -> None:
    """Of its picture and plane of ones OpenVINO makes nonsense in int8, on processors without AMX."""
    inside = quantise.trunk(graph)
    heavy = [node.name for node in inside if node.op_type in quantise.HEAVY]
    made = {name: node.op_type for node in int8.graph.node for name in node.output}
    read = {node.name: {made.get(name) for name in node.input} for node in int8.graph.node}
    assert "DequantizeLinear" not in read[heavy[0]]
    assert all("DequantizeLinear" in read[name] for name in heavy[1:])
    before = inside[: [node.name for node in inside].index(heavy[0])]
    assert before
    assert all("DequantizeLinear" not in read.get(node.name, set()) for node in before)


def test_equal_inputs_give_equal_bytes(graph, int8, slices) -> None:
    again = quantise.quantise(graph, slices)
    assert again.SerializeToString(deterministic=True) == int8.SerializeToString(deterministic=True)
    assert b"/tmp" not in int8.SerializeToString()


def test_layers_go_back_to_float_one_by_one(graph, int8, slices, tmp_path: Path) -> None:
    nodes = quantise.trunk(graph)
    heavy = [node.name for node in nodes if node.op_type in quantise.HEAVY]

    def logits(model: onnx.ModelProto) -> npt.NDArray[np.float32]:
        return OnnxRuntime(written(model, tmp_path)).run(slices, each(len(slices))).logits

    expected = logits(graph)
    np.testing.assert_allclose(logits(quantise.restored(int8, graph, [n.name for n in nodes])), expected, atol=1e-5)
    half = quantise.restored(int8, graph, heavy[: len(heavy) // 2])
    onnx.checker.check_model(half, full_check=True)
    assert int8.ByteSize() < half.ByteSize() < graph.ByteSize()
    counts = [sum(node.op_type == "DequantizeLinear" for node in model.graph.node) for model in (int8, half)]
    assert counts[0] > counts[1] > 0
    assert np.abs(logits(half) - expected).max() > 0


def test_every_runtime_takes_it(int8, slices, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = written(int8, tmp_path)
    expected = OnnxRuntime(path).run(slices, each(len(slices)))
    openvino = OpenVino(path, "int8")
    assert openvino.precisions["i8"] + openvino.precisions["u8"] > 0
    found = openvino.run(slices, each(len(slices)))
    # They round halves otherwise: a step apart in one place is more at the end, in few of the slices.
    assert np.sqrt(np.mean((found.logits - expected.logits) ** 2)) < 0.05 * expected.logits.std()
    monkeypatch.setattr(gpu, "compute_capability", lambda: None)
    engine = tensorrt.build(tensorrt.find(), path, tmp_path / "engine", "8.9", (1, 4, 8))
    assert engine.status == "built, not run"


def test_each_layer_that_the_picture_comes_to_first_is_of_the_stem() -> None:
    nodes = [
        onnx.helper.make_node("Conv", ["slices", "w"], ["fine"], name="fine"),
        onnx.helper.make_node("Conv", ["slices", "w"], ["coarse"], name="coarse"),
        onnx.helper.make_node("Relu", ["coarse"], ["seen"], name="seen"),
        onnx.helper.make_node("Conv", ["seen", "w"], ["again"], name="again"),
        onnx.helper.make_node("Concat", ["fine", "again"], ["features"], name="features", axis=1),
        onnx.helper.make_node("MatMul", ["membership", "features"], ["embedding"], name="embedding"),
    ]
    graph = onnx.helper.make_model(onnx.helper.make_graph(nodes, "two stems", [], []))
    assert [node.name for node in quantise.behind_stem(graph)] == ["seen", "again", "features"]


def test_no_slices_is_an_error(graph: onnx.ModelProto) -> None:
    with pytest.raises(EngineError, match="training slices to calibrate int8"):
        quantise.quantise(graph, np.zeros((0, SIZE, SIZE), np.uint8))
