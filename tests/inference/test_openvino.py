"""OpenVINO as a backend: the precision that was asked for, or none."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import openvino
import pytest

from pipeline.contract import Precision
from pipeline.errors import EngineError
from pipeline.inference.answers import membership
from pipeline.inference.backends import OnnxRuntime
from pipeline.inference.openvino import OpenVino


def test_fp32_is_fp32_and_answers_as_onnx_runtime_does(graph: Path) -> None:
    backend, reference = OpenVino(graph), OnnxRuntime(graph)
    assert set(backend.precisions) == {"f32"}
    assert (backend.size, backend.outputs) == (reference.size, reference.outputs)
    assert backend.name.endswith("CPU, fp32")
    slices = np.random.default_rng(1).integers(0, 256, (9, backend.size, backend.size), dtype=np.uint8)
    _, belongs = membership([str(place % 4) for place in range(9)])
    first = backend.run(slices, belongs)
    backend.run(slices[::-1].copy(), belongs)
    expected = reference.run(slices, belongs)
    for name in backend.outputs:
        np.testing.assert_allclose(getattr(first, name), getattr(expected, name), atol=1e-4)


def test_int8_of_a_graph_that_is_not_quantised_is_no_int8(graph: Path) -> None:
    with pytest.raises(EngineError, match=r"run in int8 on this processor; found layers that run in f32\."):
        OpenVino(graph, "int8")


@pytest.mark.parametrize(("precision", "own"), [("bf16", "bf16"), ("fp16", "f16")])
def test_half_precision_runs_in_it_or_is_refused(precision: Precision, own: str, graph: Path) -> None:
    if precision.upper() in openvino.Core().get_property("CPU", "OPTIMIZATION_CAPABILITIES"):
        assert OpenVino(graph, precision).precisions[own] > 0
    else:
        with pytest.raises(EngineError, match=f"run in {precision} on this processor"):
            OpenVino(graph, precision)


@pytest.mark.parametrize("content", [b"", b"no graph at all", None])
def test_a_damaged_graph_is_an_error(content: bytes | None, graph: Path, tmp_path: Path) -> None:
    path = tmp_path / "model.onnx"
    path.write_bytes(graph.read_bytes()[:5000] if content is None else content)
    with pytest.raises(EngineError, match="an ONNX graph in .* that OpenVINO runs"):
        OpenVino(path)


def test_without_the_package_the_error_says_what_to_install(graph: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "openvino", None)
    with pytest.raises(EngineError, match=r"pip install openvino"):
        OpenVino(graph)
