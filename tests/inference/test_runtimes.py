"""Which file a runtime reads, and that it says what it runs."""

from __future__ import annotations

from pathlib import Path

import pytest

from pipeline.contract import Runs
from pipeline.errors import EngineError
from pipeline.inference.runtimes import PLAIN, graph_of, start


@pytest.mark.parametrize(
    ("name", "file"),
    [
        ("onnxruntime fp32", "fp32"),
        ("onnxruntime fp16", "fp16"),
        ("onnxruntime int8", "int8"),
        ("openvino fp32", "fp32"),
        ("openvino bf16", "fp32"),
        ("openvino fp16", "fp32"),
        ("openvino int8", "int8"),
        ("openvino int8+bf16", "int8"),
    ],
)
def test_openvino_makes_halves_of_the_fp32_graph(name: str, file: str) -> None:
    runtime, precision = name.split()
    assert graph_of(Runs.model_validate({"runtime": runtime, "precision": precision})) == file


def test_what_runs_is_said(graph: Path) -> None:
    files = {"fp32": graph}
    assert start(files, PLAIN).name.endswith("CPUExecutionProvider, fp32")
    assert start(files, Runs(runtime="openvino", precision="fp32")).name.startswith("OpenVINO ")


def test_a_graph_that_is_not_there_is_an_error(graph: Path) -> None:
    with pytest.raises(EngineError, match="a graph in int8 to run in openvino; found those in fp32"):
        start({"fp32": graph}, Runs(runtime="openvino", precision="int8"))
