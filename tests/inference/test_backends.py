"""ONNX Runtime as a backend: any number of slices and units, and refusing what it would hide."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest
import torch

from pipeline.engine.graph import ReleaseGraph
from pipeline.errors import EngineError
from pipeline.inference.answers import membership
from pipeline.inference.backends import OnnxRuntime


def test_it_answers_as_the_network_does(network: ReleaseGraph, graph: Path) -> None:
    backend = OnnxRuntime(graph)
    slices = np.random.default_rng(1).integers(0, 256, (9, backend.size, backend.size), dtype=np.uint8)
    names, belongs = membership([str(place % 4) for place in range(9)])
    found = backend.run(slices, belongs)
    with torch.inference_mode():
        expected = network(torch.from_numpy(slices[:, None]), torch.from_numpy(belongs))
    assert names == ["0", "1", "2", "3"]
    for name, value in zip(network.names, expected, strict=True):
        assert getattr(found, name).dtype == np.float32
        np.testing.assert_allclose(getattr(found, name), value.numpy(), atol=1e-4)
    assert backend.outputs["probabilities"] == 1
    assert "CPUExecutionProvider" in backend.name


def test_a_provider_that_is_not_there_is_an_error_not_a_fallback(graph: Path) -> None:
    with pytest.raises(EngineError, match="CUDAExecutionProvider; found one with .*CPUExecutionProvider"):
        OnnxRuntime(graph, "CUDAExecutionProvider")


@pytest.mark.parametrize("content", [b"", b"no graph at all", None])
def test_a_damaged_graph_is_an_error(content: bytes | None, graph: Path, tmp_path: Path) -> None:
    path = tmp_path / "model.onnx"
    path.write_bytes(graph.read_bytes()[:5000] if content is None else content)
    with pytest.raises(EngineError, match="an ONNX graph in"):
        OnnxRuntime(path)


def test_a_graph_with_other_names_is_no_releases(graph: Path, tmp_path: Path) -> None:
    made = onnx.load(graph)
    for node in made.graph.node:
        node.output[:] = ["score" if name == "logits" else name for name in node.output]
        node.input[:] = ["score" if name == "logits" else name for name in node.input]
    next(value for value in made.graph.output if value.name == "logits").name = "score"
    onnx.save(made, tmp_path / "other.onnx")
    with pytest.raises(EngineError, match="a graph of a release .* gives probabilities, score"):
        OnnxRuntime(tmp_path / "other.onnx")
