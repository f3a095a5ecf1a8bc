"""Stage `compile` with the TensorRT that is installed, and without, on a machine without a GPU."""

from __future__ import annotations

import importlib
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

from pipeline import config, fingerprint
from pipeline.errors import EngineError
from pipeline.files import read_json, sha256_file, write_csv, write_json
from pipeline.inference import cases, gpu, tensorrt
from pipeline.inference.backends import OnnxRuntime
from pipeline.stages import compile as stage
from pipeline.stages.compile import compile  # noqa: A004
from tests import small_network
from tests.gpu_in_memory import GPU, Machine

SIZE = 32
ENGINES, EXPORT = Path("models/engine"), Path("models/export")


def graph(kind: int) -> onnx.ModelProto:
    """The mean of each picture as its logit, by a convolution in float or half."""
    values = [
        helper.make_node("Cast", ["slices"], ["bytes"], to=kind),
        helper.make_node("Conv", ["bytes", "weight"], ["map"]),
        helper.make_node("Cast", ["map"], ["values"], to=TensorProto.FLOAT),
        helper.make_node("Reshape", ["values", "flat"], ["features"]),
        helper.make_node("MatMul", ["membership", "features"], ["logits"]),
        helper.make_node("Identity", ["logits"], ["embedding"]),
        helper.make_node("Sigmoid", ["logits"], ["probabilities"]),
        helper.make_node("Sigmoid", ["features"], ["slice_scores"]),
    ]
    weight = helper.make_tensor("weight", kind, [1, 1, SIZE, SIZE], np.full(SIZE**2, 1e-5))
    flat = helper.make_tensor("flat", TensorProto.INT64, [2], [-1, 1])
    inputs = [
        helper.make_tensor_value_info("slices", TensorProto.UINT8, ["N", 1, SIZE, SIZE]),
        helper.make_tensor_value_info("membership", TensorProto.FLOAT, ["B", "N"]),
    ]
    names = {"probabilities": "B", "logits": "B", "slice_scores": "N", "embedding": "B"}
    outputs = [helper.make_tensor_value_info(name, TensorProto.FLOAT, [rows, 1]) for name, rows in names.items()]
    made = helper.make_graph(values, "mean", inputs, outputs, [weight, flat])
    return helper.make_model(made, opset_imports=[helper.make_opsetid("", 20)], ir_version=10)


def climbed(**runs: str) -> None:
    """What `export` found."""
    graphs = {"fp32": {"file": "model.onnx"}, "fp16": {"file": "model_fp16.onnx"}}
    write_json(EXPORT / "ladder.json", {"released": ["fp16"], "runs": runs, "graphs": graphs})


@pytest.fixture(autouse=True)
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A project folder with exported graphs, of which fp16 was allowed."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(gpu, "compute_capability", lambda: None)
    EXPORT.mkdir(parents=True)
    onnx.save(graph(TensorProto.FLOAT), EXPORT / "model.onnx")
    onnx.save(graph(TensorProto.FLOAT16), EXPORT / "model_fp16.onnx")
    climbed(runtime="onnxruntime", precision="fp32")
    fixed = small_network.calibration(model_sha256="ab" * 32, split_sha256="cd" * 32)
    write_json(Path("models/calibration.json"), fixed.record())
    units = [{"unit": f"u{number}"} for number, count in enumerate((20, 20, 18, 22, 40)) for _ in range(count)]
    write_csv(Path("data/prepared/slices.csv"), ["unit"], units)
    for name in ("index.csv", "labels.csv"):
        write_csv(Path("data/ingested") / name, ["series"], [{"series": name}])
    return tmp_path


@pytest.fixture
def params(root: Path) -> config.Params:
    shipped = config.load(root / "params.yaml")
    return shipped.model_copy(update={"prepare": shipped.prepare.model_copy(update={"size": SIZE})})


def asking(params: config.Params, **asked: Any) -> config.Params:
    return params.model_copy(update={"compile": params.compile.model_copy(update=asked)})


@pytest.fixture
def without_tensorrt(monkeypatch: pytest.MonkeyPatch) -> None:
    real = importlib.import_module

    def find(name: str, package: str | None = None) -> object:
        if name in tensorrt.MODULES:
            raise ModuleNotFoundError(name)
        return real(name, package)

    monkeypatch.setattr(importlib, "import_module", find)


def test_it_builds_the_engines_of_the_shipped_parameters(
    params: config.Params, capfd: pytest.CaptureFixture[str]
) -> None:
    compile(params)
    record = read_json(ENGINES / "compile.json")
    found = [fingerprint.Engine.model_validate(engine) for engine in record["engines"]]
    assert [engine.fingerprint.compute_capabilities for engine in found] == [["8.6"], ["8.9"]]
    for engine in found:
        assert engine.status == "built, not run"
        assert engine.sha256 == sha256_file(ENGINES / engine.file)
        made = engine.fingerprint
        assert (made.gpu, made.driver, made.precision, made.builder) == (None, None, "fp16", "tensorrt_rtx")
        assert made.onnx_sha256 == sha256_file(EXPORT / "model_fp16.onnx")
        assert made.transform_sha256 == fingerprint.sha256_of(params.prepare)
        assert made.provenance.model_dump() == record["provenance"]
    assert record["provenance"]["weights_sha256"] == "ab" * 32
    assert record["slices"] == {"least": 1, "usual": 20, "most": 80}
    assert record["onnx_sha256"] == sha256_file(EXPORT / "model.onnx")
    assert record["reason"] is None
    assert record["parity"] == {}
    assert not any("second" in key for key in record)
    assert "built, not run" in capfd.readouterr().err
    assert not list(ENGINES.glob("*.layers.json"))


def test_where_there_is_a_gpu_the_engine_is_for_it_and_is_tried(
    params: config.Params, monkeypatch: pytest.MonkeyPatch
) -> None:
    machine = Machine(EXPORT / "model_fp16.onnx", (1, 20, 80))
    machine.install(monkeypatch)
    compile(params)
    record = read_json(ENGINES / "compile.json")
    (engine,) = [fingerprint.Engine.model_validate(engine) for engine in record["engines"]]
    assert engine.status == "parity passed on its GPU"
    made = engine.fingerprint
    assert (made.gpu, made.driver, made.compute_capabilities) == (GPU.name, GPU.driver, ["8.9"])
    assert record["parity"][engine.file]["largest"]["probabilities"] < 0.02
    assert (ENGINES / "model.sm89.layers.json").read_text() == '{"Layers": []}'
    machine.off = 0.1
    with pytest.raises(EngineError, match="Do not use this engine"):
        compile(params)
    assert not list(ENGINES.glob("*.engine"))


def test_parity_cases_are_of_simulated_slices_and_the_fp32_graph(params: config.Params) -> None:
    compile(params)
    found = cases.read(ENGINES / "parity.npz")
    assert [case.membership.shape for case in found] == [(1, 1), (1, 3), (2, 3), (1, 20), (1, 64)]
    head = found[3].slices
    assert head.shape == (20, SIZE, SIZE)
    assert len(np.unique(head)) > 100
    reference = OnnxRuntime(EXPORT / "model.onnx")
    for case in found:
        expected = reference.run(case.slices, case.membership)
        np.testing.assert_array_equal(case.expected.probabilities, expected.probabilities)
    limits = read_json(ENGINES / "compile.json")["cases"]
    assert limits == {
        "file": "parity.npz",
        "sha256": sha256_file(ENGINES / "parity.npz"),
        "tolerance": 1e-3,
        "band": params.export.precision.band,
    }
    before = (ENGINES / "parity.npz").read_bytes()
    shutil.rmtree(ENGINES)
    compile(params)
    assert (ENGINES / "parity.npz").read_bytes() == before


def test_what_runs_on_cpus_answers_the_cases_too(params: config.Params) -> None:
    compile(params)
    assert read_json(ENGINES / "compile.json")["answers"] is None
    assert not (ENGINES / "runs.npz").exists()
    climbed(runtime="onnxruntime", precision="fp16")
    compile(params)
    told = read_json(ENGINES / "compile.json")
    assert told["answers"] == told["cases"] | {"file": "runs.npz", "sha256": sha256_file(ENGINES / "runs.npz")}
    half = OnnxRuntime(EXPORT / "model_fp16.onnx")
    of_graph, found = cases.read(ENGINES / "parity.npz"), cases.read(ENGINES / "runs.npz")
    for case, exact in zip(found, of_graph, strict=True):
        np.testing.assert_array_equal(case.slices, exact.slices)
        np.testing.assert_array_equal(case.expected.logits, half.run(case.slices, case.membership).logits)
    pairs = [(case.expected.logits, exact.expected.logits) for case, exact in zip(found, of_graph, strict=True)]
    assert any((said != exact).any() for said, exact in pairs)


def test_slices_that_are_units_come_in_batches(params: config.Params) -> None:
    data = params.data.model_copy(update={"label_level": "slice"})
    assert stage.usual_range(params.model_copy(update={"data": data})) == (1, 64, 64)


def test_a_precision_that_patients_do_not_allow_is_refused(params: config.Params) -> None:
    with pytest.raises(EngineError, match="validation patients allow: fp32, fp16; found int8"):
        compile(asking(params, precision="int8"))
    write_json(EXPORT / "ladder.json", {"released": []})
    assert stage.precision(None) == "fp32"


def test_one_engine_for_several_gpus(params: config.Params) -> None:
    compile(asking(params, hardware_compatible=True, precision="fp32", slices=(1, 4, 8)))
    (engine,) = read_json(ENGINES / "compile.json")["engines"]
    assert engine["file"] == "model.sm86.sm89.engine"
    assert engine["fingerprint"]["compute_capabilities"] == ["8.6", "8.9"]
    assert engine["hardware_compatible"] is True
    assert engine["slices"] == [1, 4, 8]


def test_what_tensorrt_rtx_cannot_is_said(params: config.Params) -> None:
    with pytest.raises(EngineError, match=r"later versions; found tensorrt_rtx 1.*without the lean runtime"):
        compile(asking(params, version_compatible=True))


def test_without_tensorrt_it_fails_with_the_install_lines(params: config.Params, without_tensorrt: None) -> None:
    with pytest.raises(EngineError, match=r"`pip install tensorrt_rtx` .* `pip install tensorrt`"):
        compile(params)
    assert not (ENGINES / "compile.json").exists()


def test_where_it_is_not_required_it_says_why_there_is_none(params: config.Params, without_tensorrt: None) -> None:
    compile(asking(params, required=False))
    record = read_json(ENGINES / "compile.json")
    assert record["engines"] == []
    assert record["reason"] == "no engine was built: neither `tensorrt` nor `tensorrt_rtx`"
    assert cases.read(ENGINES / "parity.npz")


def test_not_required_does_not_hide_a_failed_build(params: config.Params) -> None:
    (EXPORT / "model_fp16.onnx").write_bytes(b"no graph")
    with pytest.raises(EngineError, match="an ONNX graph that tensorrt_rtx reads"):
        compile(asking(params, required=False))


def test_a_graph_in_another_precision_than_its_name_makes_no_engine(params: config.Params) -> None:
    shutil.copy(EXPORT / "model.onnx", EXPORT / "model_fp16.onnx")
    with pytest.raises(EngineError, match=r"an engine in fp16 from model_fp16.onnx; found one in fp32"):
        compile(params)
    assert not list(ENGINES.glob("*.engine"))
