"""Stage `compile` with the TensorRT that is installed, and without."""

from __future__ import annotations

import importlib
from pathlib import Path

import onnx
import pytest
from onnx import TensorProto, helper

from pipeline import config
from pipeline.errors import EngineError
from pipeline.files import read_json, sha256_file
from pipeline.inference import gpu, tensorrt
from pipeline.stages.compile import compile  # noqa: A004


@pytest.fixture(autouse=True)
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A project folder with an exported graph, on a machine without a GPU."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(gpu, "compute_capability", lambda: None)
    graph = Path("models/export/model.onnx")
    graph.parent.mkdir(parents=True)
    whole = helper.make_node("Cast", ["slices"], ["values"], to=TensorProto.FLOAT)
    mean = helper.make_node("ReduceMean", ["values", "axes"], ["means"], keepdims=0)
    pooled = helper.make_node("MatMul", ["membership", "means"], ["probabilities"])
    axes = helper.make_tensor("axes", TensorProto.INT64, [2], [2, 3])
    slices = helper.make_tensor_value_info("slices", TensorProto.UINT8, ["N", 1, 32, 32])
    membership = helper.make_tensor_value_info("membership", TensorProto.FLOAT, ["B", "N"])
    probabilities = helper.make_tensor_value_info("probabilities", TensorProto.FLOAT, ["B", 1])
    made = helper.make_graph([whole, mean, pooled], "mean", [slices, membership], [probabilities], [axes])
    onnx.save(helper.make_model(made, opset_imports=[helper.make_opsetid("", 20)], ir_version=10), graph)
    return tmp_path


@pytest.fixture
def params(root: Path) -> config.Params:
    return config.load(root / "params.yaml")


@pytest.fixture
def without_tensorrt(monkeypatch: pytest.MonkeyPatch) -> None:
    real = importlib.import_module

    def find(name: str) -> object:
        if name in tensorrt.MODULES:
            raise ModuleNotFoundError(name)
        return real(name)

    monkeypatch.setattr(importlib, "import_module", find)


def test_it_builds_the_engines_of_the_shipped_parameters(
    params: config.Params, capfd: pytest.CaptureFixture[str]
) -> None:
    compile(params)
    record = read_json(Path("models/engine/compile.json"))
    assert [engine["compute_capability"] for engine in record["engines"]] == ["8.6", "8.9"]
    for engine in record["engines"]:
        assert engine["status"] == "built, not run"
        assert engine["sha256"] == sha256_file(Path("models/engine") / engine["file"])
    assert record["slices"] == {"least": 1, "usual": 20, "most": 512}
    assert record["onnx_sha256"] == sha256_file(Path("models/export/model.onnx"))
    assert record["reason"] is None
    assert not any("second" in key for key in record)
    assert "built, not run" in capfd.readouterr().err


def test_without_tensorrt_it_fails_with_the_install_lines(params: config.Params, without_tensorrt: None) -> None:
    with pytest.raises(EngineError, match=r"`pip install tensorrt_rtx` .* `pip install tensorrt`"):
        compile(params)
    assert not Path("models/engine").exists()


def test_where_it_is_not_required_it_says_why_there_is_none(params: config.Params, without_tensorrt: None) -> None:
    compile(params.model_copy(update={"compile": params.compile.model_copy(update={"required": False})}))
    record = read_json(Path("models/engine/compile.json"))
    assert record["engines"] == []
    assert record["reason"] == "no engine was built: neither `tensorrt` nor `tensorrt_rtx`"


def test_not_required_does_not_hide_a_failed_build(params: config.Params) -> None:
    Path("models/export/model.onnx").write_bytes(b"no graph")
    optional = params.compile.model_copy(update={"required": False})
    with pytest.raises(EngineError, match="an ONNX graph that tensorrt_rtx reads"):
        compile(params.model_copy(update={"compile": optional}))
