"""ONNX Runtime as a backend: batches, and refusing what it would hide."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from pipeline.errors import EngineError
from pipeline.inference.backends import BATCH, OnnxRuntime


def test_more_slices_than_a_batch_are_the_same_as_one_by_one(network: nn.Module, graph: Path) -> None:
    backend = OnnxRuntime(graph)
    slices = np.random.default_rng(1).integers(0, 256, (BATCH + 3, backend.size, backend.size), dtype=np.uint8)
    logits = backend.rows(slices)
    assert logits.dtype == np.float32
    assert logits.shape == (BATCH + 3, backend.outputs) == (BATCH + 3, 1)
    with torch.no_grad():
        expected = network(torch.from_numpy(slices[-1:, None].astype(np.float32) / 255))
    assert abs(float(expected) - float(logits[-1, 0])) < 1e-4


def test_a_provider_that_is_not_there_is_an_error_not_a_fallback(graph: Path) -> None:
    with pytest.raises(EngineError, match="CUDAExecutionProvider; found one with .*CPUExecutionProvider"):
        OnnxRuntime(graph, "CUDAExecutionProvider")


@pytest.mark.parametrize("content", [b"", b"no graph at all", None])
def test_a_damaged_graph_is_an_error(content: bytes | None, graph: Path, tmp_path: Path) -> None:
    path = tmp_path / "model.onnx"
    path.write_bytes(graph.read_bytes()[:5000] if content is None else content)
    with pytest.raises(EngineError, match="an ONNX graph in"):
        OnnxRuntime(path)
