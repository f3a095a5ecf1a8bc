"""From slices of three classes to a release that answers with a probability for each: every stage after training."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from scipy.special import expit, softmax
from sklearn.metrics import roc_auc_score

from pipeline import config, contract
from pipeline.clinical.acceptance import evaluate
from pipeline.clinical.pooling import pool
from pipeline.clinical.units import units_of
from pipeline.dicom.scan import Scan
from pipeline.errors import ContractError
from pipeline.files import read_csv, read_json, sha256_file, write_csv, write_json
from pipeline.imaging.prepare import prepare
from pipeline.imaging.volume import Volume
from pipeline.inference.predict import columns, predict
from pipeline.inference.release import open_release
from pipeline.stages.calibrate import calibrate
from pipeline.stages.release import release
from pipeline.stages.validate import validate
from pipeline.targets import Targets
from pipeline.transfer.backbone import empty_trunk, feature_count
from pipeline.transfer.model import TransferModel, load, save_model
from pipeline.transfer.predict import rows
from pipeline.transfer.probe import Probe
from tests import compiled, observed, training_curves

SIZE, NAMES = 32, ("low", "mid", "high")
LABELS = {"multiclass": ["0", "1", "2"], "multilabel": ["0", "1;2", "", "0;2", "1"]}
POOLING: dict[str, contract.Pooling] = {"multiclass": "mean", "multilabel": "attention"}

pytestmark = pytest.mark.parametrize("kind", ["multiclass", "multilabel"])


@pytest.fixture
def params(root: Path, kind: Any) -> config.Params:
    shipped = config.load(root / "params.yaml")
    return shipped.model_copy(
        update={
            "data": shipped.data.model_copy(update={"task": kind, "classes": list(NAMES)}),
            "prepare": shipped.prepare.model_copy(update={"size": SIZE}),
            "finetune": shipped.finetune.model_copy(update={"pooling": POOLING[kind]}),
        }
    )


@pytest.fixture
def project(trained: Path, kind: Any) -> Path:
    """The project of one class with other labels, and models of three outputs."""
    table = read_csv(Path("data/prepared/slices.csv"))
    labels = {row["patient"]: LABELS[kind][int(row["patient"][1:]) % len(LABELS[kind])] for row in table}
    for path in (Path("data/prepared/slices.csv"), Path("data/split.csv")):
        found = [row | {"label": labels[row["patient"]]} for row in read_csv(path)]
        write_csv(path, found[0], found)
    val = units_of(read_csv(Path("data/prepared/slices.csv")), "val", Targets(kind, NAMES))
    rng = np.random.default_rng(0)
    Probe(rng.normal(size=(2, 3)).astype(np.float32), np.zeros(3, np.float32)).save(Path("models/probe"))
    for seed, name in enumerate(("finetuned", "scratch")):
        torch.manual_seed(seed)
        trunk = empty_trunk("test_resnet", {})
        model = TransferModel(trunk, feature_count(trunk, SIZE), 3, POOLING[kind])
        torch.nn.init.normal_(model.head.logits.weight)
        save_model(model, Path("models") / name, Path("models/backbone"), {})
        training_curves.course(seed, Path("models") / name, val.labels)
    return trained


@pytest.fixture
def validated(project: Path, params: config.Params, export_once: Callable[[config.Params], None]) -> Path:
    calibrate(params)
    export_once(params)
    validate(params)
    return project


def test_each_class_is_calibrated_as_its_task_asks(project: Path, params: config.Params, kind: str) -> None:
    calibrate(params)
    fixed = read_json(Path("models/calibration.json"))
    if kind == "multiclass":
        assert fixed["temperature"] > 0
        assert (fixed["threshold"], fixed["rule"]) == (None, "the most probable class")
    else:
        assert (len(fixed["temperature"]), len(fixed["threshold"])) == (3, 3)
        assert fixed["rule"] == "sensitivity at least 0.9"


def test_the_figures_are_those_of_the_predictions(validated: Path, params: config.Params, kind: str) -> None:
    table = read_csv(Path("reports/predictions.csv"))
    labels = np.array([[name in row["label"].split(";") for name in NAMES] for row in table])
    assert {row["label"] for row in table} == (
        set(NAMES) if kind == "multiclass" else {"low", "mid", "mid;high", "", "low;high"}
    )
    metrics = read_json(Path("reports/metrics.json"))
    for model in ("finetuned", "probe", "scratch"):
        logits = np.array([[float(row[f"logit_{model}_{name}"]) for name in NAMES] for row in table])
        scores = softmax(logits, axis=1) if kind == "multiclass" else logits
        expected = roc_auc_score(labels, scores, average="macro")
        assert metrics[model]["auroc"]["value"] == pytest.approx(expected, abs=1e-4)
    probabilities = np.array([[float(row[f"probability_{name}"]) for name in NAMES] for row in table])
    assert (probabilities.sum(axis=1) == pytest.approx(1, abs=1e-5)) == (kind == "multiclass")
    assert set(metrics["finetuned"]["classes"]) == set(NAMES)
    assert metrics["test"]["classes"] == dict(zip(NAMES, labels.sum(axis=0).tolist(), strict=True))
    for result in evaluate(
        [config.Criterion(metric="finetuned.classes.mid.auroc.low", min=0.0), *params.accept], metrics
    ):
        assert "no such figure" not in (result.reason or "")
    confusion = read_csv(Path("reports/plots/confusion.csv"))
    assert len(confusion) == len(table) * (1 if kind == "multiclass" else 3)
    assert {row["actual"] for row in confusion} == (
        set(NAMES) if kind == "multiclass" else {*NAMES, *(f"not {name}" for name in NAMES)}
    )


def test_the_report_shows_every_class(validated: Path, kind: str) -> None:
    html = Path("reports/report.html").read_text()
    assert html.count("data:image/png") >= 4
    assert "By class, each against the rest" in html
    assert [name for name in NAMES if f"{name}, rightly called" not in html] == []


def test_a_release_answers_as_the_network_does(validated: Path, params: config.Params, kind: str) -> None:
    _accept_without_engines()
    release(params)
    opened = open_release(Path("models/release"))
    task, fixed = opened.manifest.task, opened.manifest.calibration
    assert (task.kind, task.classes, opened.manifest.graph.pooling) == (kind, list(NAMES), POOLING[kind])
    (answer,) = predict(opened, [scan := _scan()])
    slices = prepare(scan.volume, opened.manifest.transform)
    _, logits = pool(rows(load(Path("models/finetuned")), slices), ["s"] * len(slices), POOLING[kind])
    scaled = logits[0] / np.array(fixed.temperature)
    expected = softmax(scaled) if kind == "multiclass" else expit(scaled)
    assert answer.probabilities == pytest.approx(tuple(expected), abs=1e-4)
    if kind == "multiclass":
        assert answer.decision == NAMES[int(expected.argmax())]
    else:
        named = [name for name, p, at in zip(NAMES, expected, fixed.threshold, strict=True) if p >= at]
        assert answer.decision == ";".join(named)
    assert [name for name in columns(opened.targets) if "prob" in name] == [f"probability_{name}" for name in NAMES]
    _release_with_a_class_more(params)
    with pytest.raises(ContractError, match="of 4 values; found one with .* of 3"):
        open_release(Path("models/release"))


def _release_with_a_class_more(params: config.Params) -> None:
    """What a maker might put together who changed data.classes afterwards."""
    fixed = read_json(Path("models/calibration.json"))
    more = {key: [*fixed[key], 0.5] for key in ("temperature", "threshold") if isinstance(fixed[key], list)}
    changed = contract.Calibration.model_validate(fixed | more | {"calibration_sha256": None})
    write_json(Path("models/calibration.json"), changed.record())
    release(params.model_copy(update={"data": params.data.model_copy(update={"classes": [*NAMES, "more"]})}))


def _accept_without_engines() -> None:
    """What accept and compile would leave."""
    criterion = {"metric": "m", "bound": "at least 0", "value": 1.0, "passed": True, "reason": None}
    write_json(Path("reports/acceptance.json"), {"accepted": True, "criteria": [criterion]})
    graph = sha256_file(Path("models/export/model.onnx"))
    model = sha256_file(Path("models/finetuned/model.safetensors"))
    write_json(Path("models/engine/compile.json"), compiled.record(Path("models/engine"), graph, model))
    observed.write(Path("data/reference.npz"), graph, classes=3)


def _scan() -> Scan:
    voxels = np.random.default_rng(1).random((5, 48, 48), dtype=np.float32)
    return Scan(
        Volume(voxels, np.eye(4)),
        patient_id="P",
        study_uid="1.2",
        series_uid="1.2.3",
        slice_keys=[(f"1.2.3.{index}", None) for index in range(5)],
        manufacturer="",
        field_strength_t=None,
        contrast="FLAIR",
        sex="",
        age_years=None,
    )


def test_the_indicators_rank_units_as_the_figures_do(validated: Path, params: config.Params, kind: str) -> None:
    targets = params.data.targets
    val = units_of(read_csv(Path("data/prepared/slices.csv")), "val", targets)
    with np.load("models/scratch/curve.npz") as stored:
        scores = [targets.scores(row) for row in stored["logits"]]
    aurocs = [np.mean([roc_auc_score(val.labels[:, k], row[:, k]) for k in range(3)]) for row in scores]
    found = read_json(Path("reports/metrics.json"))["transfer"]["time_to_threshold"]
    assert found["level"] == pytest.approx(max(aurocs), abs=1e-6)
