"""Stage `export` on a small fine-tuned model with the default backbone's padding."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from scipy.special import expit, softmax

from pipeline import config
from pipeline.errors import ContractError
from pipeline.files import read_json, sha256_file, write_csv, write_json
from pipeline.inference.answers import each, membership
from pipeline.inference.backends import OnnxRuntime
from pipeline.stages.export import export
from pipeline.transfer.head import pool as pool_torch
from pipeline.transfer.model import from_backbone, load, save_model
from tests.own_release import calibrate

SIZE = 64


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A project folder with a fine-tuned model and prepared slices of two sides."""
    monkeypatch.chdir(tmp_path)
    write_json(Path("models/backbone/card.json"), {"name": "test_efficientnet", "options": {"pad_type": "same"}})
    torch.manual_seed(1)
    model = from_backbone(Path("models/backbone"), SIZE, 0.2, pretrained=False)
    torch.nn.init.normal_(model.head.logits.weight, std=0.1)
    save_model(model, Path("models/finetuned"), Path("models/backbone"), {})
    write_csv(Path("data/split.csv"), ["unit"], [])
    calibrate(temperature=1.3, threshold=0.4)
    slices = np.random.default_rng(2).integers(0, 256, (50, SIZE, SIZE), dtype=np.uint8)
    Path("data/prepared").mkdir(parents=True)
    np.save("data/prepared/slices.npy", slices)
    rows = [
        {
            "series": f"s{index // 5}",
            "slice_index": index,
            "split": "val" if index % 5 else "train",
            "unit": f"s{index // 5}",
            "patient": f"p{index // 5}",
            "label": index // 5 % 2,
        }
        for index in range(50)
    ]
    write_csv(Path("data/prepared/slices.csv"), rows[0], rows)
    return tmp_path


@pytest.fixture
def params(root: Path) -> config.Params:
    shipped = config.load(root / "params.yaml")
    return shipped.model_copy(update={"prepare": shipped.prepare.model_copy(update={"size": SIZE})})


def test_it_writes_the_graph_and_its_parity_on_validation_slices(project: Path, params: config.Params) -> None:
    export(with_rungs(params, []))
    record = read_json(Path("models/export/parity.json"))
    assert record["max_abs_logit_difference"] <= params.export.tolerance
    assert record["slices"] == 40
    assert record["batches"] == [[1, 1], [3, 2], [5, 5], [31, 1]]
    assert record["backend"].endswith("CPUExecutionProvider, fp32")
    assert set(record["outputs"]) == set(record["largest"])
    assert record["outputs"] == ["probabilities", "logits", "slice_scores", "embedding", "saliency"]
    assert record["opset"] == 20
    assert record["model_sha256"] == sha256_file(Path("models/finetuned/model.safetensors"))
    graph = Path("models/export/model.onnx")
    assert record["onnx_sha256"] == sha256_file(graph)
    slices = np.load("data/prepared/slices.npy")
    with torch.no_grad():
        expected = load(Path("models/finetuned"))(torch.from_numpy(slices[:, None] / np.float32(255)))
    found = OnnxRuntime(graph).run(slices, each(len(slices)))
    assert np.abs(found.logits - expected.numpy()).max() < 1e-4
    assert np.abs(found.probabilities - expit(expected.numpy() / 1.3)).max() < 1e-4


def test_a_calibration_of_another_model_is_refused(project: Path, params: config.Params) -> None:
    Path("data/split.csv").write_text("unit\nanother")
    with pytest.raises(ContractError, match="the split that"):
        export(params)


def test_equal_inputs_give_equal_bytes(project: Path, params: config.Params) -> None:
    def everything() -> dict[str, bytes]:
        export(params)
        made = {path.name: path.read_bytes() for path in Path("models/export").iterdir()}
        rungs = json.loads(made.pop("ladder.json"))["rungs"]
        assert all(rung["milliseconds"] > 0 for rung in rungs if not rung["not_run"])  # by processors without fp16
        return made

    first = everything()
    assert set(first) == {"model.onnx", "model_fp16.onnx", "model_bf16.onnx", "model_int8.onnx", "parity.json"}
    assert everything() == first


def test_the_ladder_is_climbed_on_validation_units(project: Path, params: config.Params) -> None:
    export(with_rungs(params, ["openvino fp32", "onnxruntime int8"], auroc_change=1, band=1))
    found = read_json(Path("models/export/ladder.json"))
    names = [f"{rung['runtime']} {rung['precision']}" for rung in found["rungs"]]
    assert names == ["onnxruntime fp32", "openvino fp32", "onnxruntime int8"]
    assert found["validation"]["units"] == 10
    assert found["asked"] == {"band": 1, "auroc_change": 1}
    assert found["int8"]["tries"] == [{"left_in_float": 0, "refused": None}]
    assert found["int8"]["calibrated_on"] == 10
    assert found["released"] == ["int8"]
    for made in found["graphs"].values():
        assert made["sha256"] == sha256_file(Path("models/export") / made["file"])
    last = found["rungs"][2]
    slices = np.load("data/prepared/slices.npy")
    answers = {}
    for name in ("model.onnx", "model_int8.onnx"):
        backend = OnnxRuntime(Path("models/export") / name)
        rows = [[5 * unit + place for place in range(1, 5)] for unit in range(10)]
        answers[name] = np.concatenate(
            [backend.run(slices[own], np.ones((1, 4), np.float32)).probabilities for own in rows]
        )
    off = np.abs(answers["model_int8.onnx"] - answers["model.onnx"])
    assert last["largest"] == pytest.approx(off.max(), abs=1e-6)
    assert last["mean"] == pytest.approx(off.mean(), abs=1e-6)
    assert last["flips"] == ((answers["model_int8.onnx"] >= 0.4) != (answers["model.onnx"] >= 0.4)).sum()


def test_where_no_rung_is_asked_for_fp32_is_left(project: Path, params: config.Params) -> None:
    export(with_rungs(params, []))
    found = read_json(Path("models/export/ladder.json"))
    assert found["runs"] == {"runtime": "onnxruntime", "precision": "fp32"}
    assert (found["released"], found["int8"], list(found["graphs"])) == ([], None, ["fp32"])


def with_rungs(params: config.Params, rungs: list[str], **limits: float) -> config.Params:
    rules = params.export.precision.model_copy(update={"rungs": rungs, **limits})
    return params.model_copy(update={"export": params.export.model_copy(update={"precision": rules})})


def test_bags_of_any_size_are_the_same_on_a_box(project: Path, params: config.Params) -> None:
    """Three classes under gated attention: the graph against the pooling of the training."""
    torch.manual_seed(2)
    model = from_backbone(Path("models/backbone"), SIZE, 0.0, pretrained=False, outputs=3, pooling="attention")
    for parameter in model.head.parameters():
        torch.nn.init.normal_(parameter, std=0.1)
    save_model(model, Path("models/finetuned"), Path("models/backbone"), {})
    calibrate(temperature=2.0, threshold=None)
    data = params.data.model_copy(update={"task": "multiclass", "classes": ["a", "b", "c"]})
    export(params.model_copy(update={"data": data}))
    assert read_json(Path("models/export/parity.json"))["pooling"] == "attention"
    slices = np.load("data/prepared/slices.npy")
    owner = np.repeat([0, 1, 2, 3], [1, 2, 17, 30])
    names, belongs = membership(owner.astype(str).tolist())
    found = OnnxRuntime(Path("models/export/model.onnx")).run(slices, belongs)
    with torch.no_grad():
        rows = model.eval()(torch.from_numpy(slices[:, None] / np.float32(255)))
        expected = pool_torch(rows, torch.from_numpy(owner), 4, "attention")
    assert names == ["0", "1", "2", "3"]
    np.testing.assert_allclose(found.logits, expected.numpy(), atol=1e-4)
    np.testing.assert_allclose(found.probabilities, softmax(expected.numpy() / 2, axis=1), atol=1e-4)
