"""The graphs in half precision: their trunk in it, the rest in fp32; what half cannot hold is refused or left alone."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import numpy as np
import numpy.typing as npt
import onnx
import pytest
from onnx import TensorProto, numpy_helper
from onnx.reference import ReferenceEvaluator

from pipeline.engine import half as halving
from pipeline.engine import quantise
from pipeline.errors import EngineError
from pipeline.inference import gpu, tensorrt
from pipeline.inference.answers import INPUTS, each
from pipeline.inference.backends import OnnxRuntime
from tests.small_network import SIZE

#: Half of the distance between neighbours at 1.
ROUNDING = {"fp16": 2.0**-11, "bf16": 2.0**-8}
TYPES = {"fp16": TensorProto.FLOAT16, "bf16": TensorProto.BFLOAT16}

each_precision = pytest.mark.parametrize("precision", ["fp16", "bf16"])


@pytest.fixture(scope="module")
def slices() -> npt.NDArray[np.uint8]:
    return np.random.default_rng(5).integers(0, 256, (6, SIZE, SIZE), dtype=np.uint8)


def types(graph: onnx.ModelProto) -> dict[str, int]:
    """Of every value of a graph."""
    known = onnx.shape_inference.infer_shapes(graph, strict_mode=True, data_prop=True).graph
    found = {value.name: value.type.tensor_type.elem_type for value in (*known.input, *known.value_info, *known.output)}
    return found | {value.name: value.data_type for value in known.initializer}


def edited(graph: onnx.ModelProto, name: str, value: float) -> onnx.ModelProto:
    """The graph with one value of an initialiser changed."""
    made = onnx.ModelProto()
    made.CopyFrom(graph)
    (place,) = [place for place, found in enumerate(made.graph.initializer) if found.name == name]
    array = numpy_helper.to_array(made.graph.initializer[place]).copy()
    array.flat[0] = value
    made.graph.initializer[place].CopyFrom(numpy_helper.from_array(array, name))
    return made


def weights(graph: onnx.ModelProto) -> str:
    """The name of the weights of the first convolution."""
    return next(node.input[1] for node in graph.graph.node if node.op_type == "Conv")


@each_precision
def test_heavy_layers_are_in_half_and_what_decides_is_in_fp32(graph: onnx.ModelProto, precision) -> None:
    made = halving.half(graph, precision)
    found = types(made)
    inside = {node.name for node in quantise.trunk(graph) if node.op_type in quantise.HEAVY}
    assert len(inside) > 5
    for node in made.graph.node:
        if node.op_type in quantise.HEAVY:
            expected = TYPES[precision] if node.name in inside else TensorProto.FLOAT
            assert {found[name] for name in (*node.input, *node.output)} == {expected}, node.name
        if node.op_type == "GlobalAveragePool":
            assert found[node.input[0]] == TensorProto.FLOAT
    assert [(v.name, found[v.name]) for v in made.graph.output] == [
        (v.name, v.type.tensor_type.elem_type) for v in graph.graph.output
    ]
    assert [v.name for v in made.graph.input] == list(INPUTS)
    assert made.ByteSize() < 0.6 * graph.ByteSize()
    casts = Counter(node.output[0] for node in made.graph.node if node.op_type == "Cast")
    assert set(casts.values()) == {1}


@each_precision
def test_its_answers_are_as_near_as_its_rounding(graph: onnx.ModelProto, slices, precision) -> None:
    feed = dict(zip(INPUTS, (slices[:, None], each(len(slices))), strict=True))
    names = [value.name for value in graph.graph.output]
    expected = dict(zip(names, ReferenceEvaluator(graph).run(None, feed), strict=True))
    found = dict(zip(names, ReferenceEvaluator(halving.half(graph, precision)).run(None, feed), strict=True))
    for name in names:
        off = np.abs(found[name] - expected[name]).max() / np.abs(expected[name]).max()
        assert 1e-6 < off < 10 * ROUNDING[precision], name


def test_onnx_runtime_runs_fp16_and_rounds_as_it_says(graph: onnx.ModelProto, slices, tmp_path: Path) -> None:
    path = tmp_path / "fp16.onnx"
    path.write_bytes(halving.half(graph, "fp16").SerializeToString(deterministic=True))
    found = OnnxRuntime(path).run(slices, each(len(slices)))
    path.write_bytes(graph.SerializeToString(deterministic=True))
    expected = OnnxRuntime(path).run(slices, each(len(slices)))
    off = np.abs(found.embedding - expected.embedding).max() / np.abs(expected.embedding).max()
    assert 1e-5 < off < 10 * ROUNDING["fp16"]


@each_precision
def test_tensorrt_builds_it(graph: onnx.ModelProto, precision, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "model.onnx"
    path.write_bytes(halving.half(graph, precision).SerializeToString(deterministic=True))
    monkeypatch.setattr(gpu, "compute_capability", lambda: None)
    engine = tensorrt.build(tensorrt.find(), path, tmp_path / "engine", "8.9", (1, 4, 8))
    assert engine.status == "built, not run"


@each_precision
def test_equal_inputs_give_equal_bytes_and_the_given_graph_stays(graph: onnx.ModelProto, precision) -> None:
    before = graph.SerializeToString(deterministic=True)
    first, second = (halving.half(graph, precision).SerializeToString(deterministic=True) for _ in range(2))
    assert first == second
    assert graph.SerializeToString(deterministic=True) == before


@pytest.mark.parametrize(("precision", "value"), [("fp16", 7e4), ("fp16", np.nan), ("bf16", -np.inf)])
def test_weights_that_half_cannot_hold_are_an_error(graph: onnx.ModelProto, precision, value: float) -> None:
    with pytest.raises(EngineError, match=f"finite in {precision}; found some that are not, or are too large"):
        halving.half(edited(graph, weights(graph), value), precision)


def test_large_weights_fit_in_bf16_and_tiny_ones_may_vanish(graph: onnx.ModelProto) -> None:
    halving.half(edited(graph, weights(graph), 7e4), "bf16")
    halving.half(edited(graph, weights(graph), 1e-12), "fp16")


def test_an_operator_whose_constant_would_vanish_stays_in_fp32(graph: onnx.ModelProto) -> None:
    ones = next(node for node in graph.graph.node if node.op_type == "Expand")
    for value, expected in ((1e-12, TensorProto.FLOAT), (1e-3, TensorProto.FLOAT16)):
        made = halving.half(edited(graph, ones.input[0], value), "fp16")
        (same,) = [node for node in made.graph.node if node.name == ones.name]
        found = types(made)
        assert {found[name] for name in (same.input[0], *same.output)} == {expected}
