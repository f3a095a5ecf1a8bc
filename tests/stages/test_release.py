"""Stage `release`: a release from the artefacts of the stages before, and every refusal."""

from __future__ import annotations

import hashlib
import math
from pathlib import Path
from typing import Any

import pytest
import torch
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from safetensors.torch import load_file, save

from pipeline import config, contract
from pipeline.errors import ContractError
from pipeline.files import read_json, sha256_file, write_json
from pipeline.inference import signature
from pipeline.stages.release import release
from tests import compiled, observed, pretrained

RELEASE = Path("models/release")
NETWORK = {"trunk.conv.weight": torch.arange(6.0).view(2, 3), "head.1.weight": torch.ones(1, 2)}
MODEL = hashlib.sha256(save(NETWORK)).hexdigest()


def estimate(value: float, low: float, high: float) -> dict[str, float]:
    return {"value": value, "low": low, "high": high}


METRICS: dict[str, Any] = {
    "finetuned": {"auroc": estimate(0.912, 0.851, 0.960)},
    "probe": {"auroc": estimate(0.85, 0.78, 0.91)},
    "scratch": {"auroc": estimate(0.80, 0.71, 0.88)},
    "operating_point": {
        "threshold": 0.41,
        "sensitivity": estimate(0.9, 0.8, 0.95),
        "specificity": {"value": math.nan, "low": math.nan, "high": math.nan, "reason": "no negative unit"},
    },
    "calibration": {"brier": {"value": 0.123, "low": 0.1, "high": 0.2}},
    "transfer": {"verdict": "positive", "difference": 0.11, "low": 0.02, "high": 0.2},
    "test": {"patients": 50, "units": 51, "positives": 25},
    "precision": {"units": 51, "largest": 0.02, "flips": 0, "confirmed": True},
}
CRITERION = {"metric": "finetuned.auroc.low", "bound": "at least 0.55", "value": 0.851, "passed": True, "reason": None}
GRAPHS = {"fp32": "model.onnx", "bf16": "model_bf16.onnx", "int8": "model_int8.onnx"}
CHANGE = {"largest": 0.0123, "mean": 0.001, "auroc_change": estimate(-0.001, -0.004, 0.002), "flips": 1}
LADDER: dict[str, Any] = {
    "runs": {"runtime": "openvino", "precision": "int8"},
    "released": ["int8"],
    "asked": {"band": 0.02, "auroc_change": 0.01},
    "validation": {"units": 34, "patients": 34, "slices_of_a_call": 20, "confidence": 0.95},
    "rungs": [
        {"runtime": "onnxruntime", "precision": "fp32", "refused": None, "not_run": None, "milliseconds": 60.0}
        | {"largest": 0.0, "mean": 0.0, "flips": 0, "flips_outside": 0},
        {"runtime": "openvino", "precision": "int8", "refused": None, "not_run": None, "milliseconds": 9.0}
        | {**CHANGE, "flips_outside": 0},
    ],
}


def _made(file: str) -> dict[str, str]:
    return {"file": file, "sha256": sha256_file(Path("models/export") / file)}


@pytest.fixture(autouse=True)
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The artefacts of an accepted model, with one engine."""
    monkeypatch.chdir(tmp_path)
    for path, content in (
        ("models/finetuned/model.safetensors", save(NETWORK)),
        ("models/export/model.onnx", b"graph"),
        ("models/export/model_bf16.onnx", b"graph of bf16"),
        ("models/export/model_int8.onnx", b"graph of int8"),
        ("models/engine/model.sm86.engine", b"engine"),
    ):
        Path(path).parent.mkdir(parents=True, exist_ok=True)
        Path(path).write_bytes(content)
    onnx_sha256 = sha256_file(Path("models/export/model.onnx"))
    observed.write(Path("data/reference.npz"), onnx_sha256)
    engine = compiled.engine(Path("models/engine/model.sm86.engine"), onnx_sha256=onnx_sha256)
    artefacts: dict[str, Any] = {
        "models/backbone/card.json": pretrained.card(),
        "models/calibration.json": contract.Calibration(
            temperature=1.31, threshold=0.41, rule="youden", model_sha256=MODEL, split_sha256="34" * 32
        ).record(),
        "reports/metrics.json": METRICS,
        "reports/acceptance.json": {"accepted": True, "criteria": [CRITERION]},
        "models/export/parity.json": {
            "max_abs_logit_difference": 2.5e-6,
            "tolerance": 1e-4,
            "slices": 400,
            "opset": 20,
            "outputs": ["probabilities", "logits", "slice_scores", "embedding", "saliency"],
            "pooling": "mean",
            "model_sha256": MODEL,
            "onnx_sha256": onnx_sha256,
        },
        "models/export/ladder.json": LADDER | {"graphs": {name: _made(file) for name, file in GRAPHS.items()}},
        "models/engine/compile.json": compiled.record(
            Path("models/engine"),
            onnx_sha256,
            MODEL,
            engines=[engine.model_dump()],
            slices={"least": 1, "usual": 20, "most": 256},
            reason=None,
        ),
    }
    for name, value in artefacts.items():
        write_json(Path(name), value)
    return tmp_path


@pytest.fixture
def params(root: Path) -> config.Params:
    return config.load(root / "params.yaml")


def change(path: str, **values: Any) -> None:
    write_json(Path(path), read_json(Path(path)) | values)


def test_an_unsigned_release_is_whole_and_says_that_it_is_unsigned(
    params: config.Params, capfd: pytest.CaptureFixture[str]
) -> None:
    release(params)
    assert {path.name for path in RELEASE.iterdir()} == {
        *(
            "manifest.json",
            "model.onnx",
            "model_int8.onnx",
            "model.sm86.engine",
            "model_card.json",
            "model_card.md",
        ),
        *("trunk.safetensors", "parity.npz", "reference.npz", "SHA256SUMS"),
    }
    signature.check_sums(RELEASE)
    assert "UNSIGNED" in (RELEASE / "model_card.md").read_text().splitlines()[0]
    assert "UNSIGNED" in capfd.readouterr().err
    manifest = contract.load(RELEASE)
    assert manifest.signature == "UNSIGNED"
    assert manifest.task.source == "not stated by mobilenetv2_100 (mobilenetv2_100.safetensors)"
    assert manifest.task.target == "MRI classification, one label a series"
    assert manifest.task.source_domain == "not stated by the weights' file"
    assert manifest.task.target_domain == "MRI, FLAIR"
    assert manifest.transform == params.prepare
    assert manifest.graph.sha256 == sha256_file(RELEASE / "model.onnx")
    assert (manifest.runs.runtime, manifest.runs.precision) == ("openvino", "int8")
    # A graph that validation patients did not allow stays behind.
    (variant,) = manifest.graph.variants
    assert (variant.precision, variant.sha256) == ("int8", sha256_file(RELEASE / "model_int8.onnx"))
    assert manifest.calibration.threshold == 0.41
    assert manifest.data["licence"] == params.data.licence
    assert manifest.validation["metrics"]["finetuned"]["auroc"]["low"] == 0.851
    assert [engine.file for engine in manifest.engines] == ["model.sm86.engine"]
    assert manifest.reference is not None
    assert manifest.reference.sha256 == sha256_file(RELEASE / "reference.npz")


def test_it_carries_the_trunk_of_the_exported_model(params: config.Params) -> None:
    release(params)
    manifest = contract.load(RELEASE)
    assert manifest.trunk is not None
    assert manifest.trunk.sha256 == sha256_file(RELEASE / "trunk.safetensors")
    assert {key: value.tolist() for key, value in load_file(RELEASE / "trunk.safetensors").items()} == {
        "conv.weight": NETWORK["trunk.conv.weight"].tolist()
    }
    assert "`trunk.safetensors`: the fine-tuned network without its head" in (RELEASE / "model_card.md").read_text()


def test_every_training_behind_the_weights_is_on_the_card(params: config.Params) -> None:
    before = [
        {"name": "b", "version": "0.2.0", "task": "MRI classification, one label a slice (no, yes)",
         "data": "Hospital B", "licence": "CC BY 4.0", "sha256": "45" * 32},
        {"name": "resnet18", "version": None, "task": "image classification", "data": "hub:timm/resnet18",
         "licence": "apache-2.0", "sha256": "67" * 32},
    ]  # fmt: skip
    write_json(Path("models/backbone/card.json"), pretrained.card(weights="release", origin="b 0.2.0", origins=before))
    release(params)
    manifest = contract.load(RELEASE)
    assert [origin.model_dump() for origin in manifest.backbone.origins] == before
    assert manifest.task.source == "MRI classification, one label a slice (no, yes) by mobilenetv2_100 (b 0.2.0)"
    assert manifest.task.source_domain == "MRI (Hospital B)"
    lines = (RELEASE / "model_card.md").read_text().splitlines()
    for line in (
        "| Its weights | release: b 0.2.0 |",
        f"| b 0.2.0 | MRI classification, one label a slice (no, yes) | Hospital B | CC BY 4.0 | `{'45' * 32}` |",
        f"| resnet18 (published by others) | image classification | hub:timm/resnet18 | apache-2.0 | `{'67' * 32}` |",
    ):
        assert line in lines


def test_the_card_says_what_a_reader_needs(params: config.Params) -> None:
    release(params)
    card = (RELEASE / "model_card.md").read_text()
    for line in (
        "| AUROC | 0.912 (0.851 to 0.960) |",
        "| Specificity | not defined (no negative unit) |",
        "| Brier score | 0.123 (0.100 to 0.200) |",
        "| Transfer | positive |",
        "| finetuned.auroc.low | at least 0.55 | 0.851 |",
        "| `model.sm86.engine` | 8.6 | fp32 | tensorrt_rtx 1.7 | built, not run |",
        "| Its weights | file: mobilenetv2_100.safetensors |",
        f"| Their SHA-256 | `{'12' * 32}`; not verified |",
        "| Their licence | apache-2.0 |",
        "`model_int8.onnx`: the same with its trunk in int8.",
        "**It runs in OpenVINO, int8**, the fastest on the maker's machine that keeps what fp32 decides;",
        "On 34 validation series it gives probabilities within 0.0123 of those of fp32, and 1 decision differs",
        "(none farther than 0.02 from the threshold). On 51 test series: within 0.0200, 0 differ.",
        "On test patients, of whom training and calibration saw nothing: 50 patients, 51 units, 25 positive.",
    ):
        assert line in card.splitlines() or line in card
    assert params.data.source in card
    assert "Research use only" in card
    assert "no GPU has run this engine" in card
    assert "commercial" not in card
    assert "top-1" not in card


@pytest.mark.parametrize(
    ("kind", "temperature", "threshold", "answer"),
    [
        ("multiclass", 1.5, None, "a probability of each class a series, in all 1; the most probable one is the"),
        ("multilabel", [1.5, 2.0], [0.25, 0.5], "each by itself; there at 0.2500, 0.5000 and above"),
    ],
)
def test_the_card_says_how_several_classes_are_answered(
    params: config.Params, kind: Any, temperature: Any, threshold: Any, answer: str
) -> None:
    data = params.data.model_copy(update={"task": kind, "classes": ["bleed", "mass"]})
    fixed = read_json(Path("models/calibration.json")) | {"temperature": temperature, "threshold": threshold}
    fixed["calibration_sha256"] = None
    write_json(Path("models/calibration.json"), contract.Calibration.model_validate(fixed).record())
    found = {name: {"auroc": estimate(value, 0.8, 0.9)} for name, value in (("bleed", 0.87), ("mass", 0.83))}
    metrics = METRICS | {
        "finetuned": METRICS["finetuned"] | {"classes": found},
        "test": {"patients": 50, "units": 51, "classes": {"bleed": 20, "mass": 9}},
    }
    write_json(Path("reports/metrics.json"), metrics)
    release(params.model_copy(update={"data": data}))
    task = contract.load(RELEASE).task
    assert (task.kind, task.classes) == (kind, ["bleed", "mass"])
    card = (RELEASE / "model_card.md").read_text()
    assert answer in card
    assert "50 patients, 51 units, 20 with bleed, 9 with mass." in card
    assert "| AUROC, mass against the rest | 0.830 (0.800 to 0.900) |" in card


def test_an_embedded_backbone_is_called_what_it_is(params: config.Params) -> None:
    write_json(Path("models/backbone/card.json"), pretrained.embedded_card())
    release(params)
    card = (RELEASE / "model_card.md").read_text()
    for line in (
        "| Its weights | embedded: ImageNet subset, 200 classes, 64x64 |",
        "| They name the right class of | 55.1 % of 10000 validation images of 200 classes (top-1) |",
        f"| Their SHA-256 | `{'12' * 32}`; SHA-256 as stated by its card |",
        "**No commercial use: the licence of the pre-trained weights forbids it.**",
    ):
        assert line in card.splitlines()
    manifest = contract.load(RELEASE)
    assert manifest.task.source == "image classification by resnet10t (embedded: ImageNet subset, 200 classes, 64x64)"
    assert manifest.backbone.model_dump(mode="json") == pretrained.embedded_card()
    assert manifest.task.source_domain == "natural photographs (ImageNet subset, 200 classes, 64x64)"
    assert "| Source domain | natural photographs (ImageNet subset, 200 classes, 64x64) |" in card.splitlines()
    assert "| Target domain | MRI, FLAIR |" in card.splitlines()


def test_equal_inputs_give_equal_bytes_and_nothing_stays_of_the_last(params: config.Params) -> None:
    release(params)
    first = {path.name: path.read_bytes() for path in RELEASE.iterdir()}
    (RELEASE / "model.sm75.engine").write_bytes(b"stale")
    release(params)
    assert {path.name: path.read_bytes() for path in RELEASE.iterdir()} == first


def test_a_waived_criterion_is_released_and_named(params: config.Params) -> None:
    waiver = {"by": "Dr. Ada Example", "reason": "a comparison of backbones"}
    harmed = {
        "metric": "transfer.verdict",
        "bound": "other than negative",
        "value": "negative",
        "reason": "is negative",
    }
    waived = harmed | {"passed": False, "waived": True, "waiver": waiver}
    change("reports/acceptance.json", criteria=[CRITERION, waived])
    release(params)
    card = (RELEASE / "model_card.md").read_text()
    assert "| transfer.verdict | other than negative | negative (**missed, waived**) |" in card.splitlines()
    assert "transfer.verdict other than negative.** Dr. Ada Example answers for it: a comparison of backbones" in card
    assert contract.load(RELEASE).validation["acceptance"][1]["waiver"] == waiver


@pytest.mark.parametrize("waiver", [None, {"by": "Dr. Ada Example", "reason": " "}])
def test_a_waiver_without_a_name_and_a_reason_is_none(waiver: dict[str, str] | None, params: config.Params) -> None:
    change("reports/acceptance.json", criteria=[CRITERION | {"passed": False, "waived": True, "waiver": waiver}])
    with pytest.raises(ContractError, match="but for those waived in writing"):
        release(params)


def test_the_card_of_a_machine_holds_the_figures_of_the_metrics(params: config.Params) -> None:
    shares = {"auroc": estimate(0.8, 0.6, 0.9), "sensitivity": estimate(0.5, 0.2, 0.8)}
    undefined = {"value": None, "reason": "no negative unit"}
    group = {"attribute": "sex", "group": "F|M", "patients": 9, "small": True, "warning": "low", **shares}
    metrics = METRICS | {
        "subgroups": [{**group, "specificity": undefined}],
        "test_set": {"opened": 2, "models": 2, "splits": 3, "model_splits": 2, "threshold_moved": False},
        "leakage": {"exact": 0, "near": 3},
    }
    point = METRICS["operating_point"] | {
        "at_prevalence": {
            "0.1": {"ppv": estimate(0.3, 0.2, 0.4), "npv": estimate(0.99, 0.97, 1.0),
                    "per_1000": {"found": 90.0, "missed": 10.0, "false_alarms": 207.0, "cleared": 693.0}}
        }
    }  # fmt: skip
    write_json(Path("reports/metrics.json"), metrics | {"operating_point": point})
    waiver = {"by": "Dr. Ada Example", "reason": "a trial"}
    change("reports/acceptance.json", criteria=[CRITERION | {"passed": False, "waived": True, "waiver": waiver}])
    release(params)
    card = read_json(RELEASE / "model_card.json")
    assert card["evaluation"]["finetuned"] == METRICS["finetuned"]
    assert card["evaluation"]["subgroups"] == metrics["subgroups"]
    assert card["waivers"][0]["waiver"] == waiver
    assert card["research_use_only"] is True
    assert card["calibration"]["threshold"] == 0.41
    assert "levels" in card["not_measured"]
    assert (card["name"], card["version"]) == (params.release.name, params.release.version)
    lines = (RELEASE / "model_card.md").read_text().splitlines()
    shown = "0.800 (0.600 to 0.900) | 0.500 (0.200 to 0.800) | not defined (no negative unit)"
    few = f"| sex | F\\|M | 9 | {shown} | few; **low** |"
    opened = (
        "The test set was opened twice, for 2 models: the best of several looks better than it is. 3 different splits "
        "stand in the ledger, and this model was tested on 2 of them: **it may have learnt from test patients**."
    )
    for line in (
        few,
        "| 0.1 | 90 | 10 | 207 | 693 | 0.300 (0.200 to 0.400) | 0.990 (0.970 to 1.000) |",
        opened,
        "Slices that stand on two sides of the split: 0 equal, 3 nearly equal pairs.",
        *(f"- {limit}" for limit in card["limits"]),
    ):
        assert line in lines


def test_without_engines_the_card_says_why(params: config.Params) -> None:
    change("models/engine/compile.json", engines=[], reason="no engine was built: neither package")
    release(params)
    assert "No TensorRT engine: no engine was built: neither package." in (RELEASE / "model_card.md").read_text()


def test_with_a_key_it_is_signed(params: config.Params, tmp_path: Path) -> None:
    key = Ed25519PrivateKey.generate()
    (tmp_path / "key").write_bytes(
        key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    )
    (tmp_path / "pub").write_bytes(
        key.public_key().public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)
    )
    release(params.model_copy(update={"release": params.release.model_copy(update={"key_file": tmp_path / "key"})}))
    signature.verify(RELEASE, tmp_path / "pub")
    assert contract.load(RELEASE).signature == signature.describe(key)
    card = (RELEASE / "model_card.md").read_text()
    assert "UNSIGNED" not in card
    assert signature.describe(key) in card.splitlines()[0]


@pytest.mark.parametrize(
    ("path", "values", "message"),
    [
        ("reports/acceptance.json", {"criteria": [CRITERION | {"passed": False}]}, "finetuned.auroc.low of 1 failed"),
        ("reports/acceptance.json", {"accepted": False}, "acceptance criterion"),
        ("reports/acceptance.json", {"criteria": []}, "no criteria judged"),
        (
            "models/calibration.json",
            {"model_sha256": "cd" * 32},
            f"calibration of the exported model, {MODEL[:8]}.*cdcd",
        ),
        ("models/calibration.json", {"temperature": -1}, "a calibration in .*temperature"),
        ("models/calibration.json", {"threshold": 0.1}, "a calibration in .*changed by hand"),
        ("models/calibration.json", {"threshold": 0.1, "calibration_sha256": None}, "no calibration_sha256"),
        ("models/export/parity.json", {"model_sha256": "cd" * 32}, "calibration of the exported model"),
        ("models/engine/compile.json", {"onnx_sha256": "cd" * 32}, "engines of the exported graph"),
        (
            "models/engine/compile.json",
            {"provenance": compiled.provenance("cd" * 32).model_dump()},
            "engines of the exported model",
        ),
        ("models/backbone/card.json", {"licence": None}, "the backbone's licence stated"),
    ],
)
def test_a_broken_chain_makes_no_release_and_keeps_the_last(
    path: str, values: dict[str, Any], message: str, params: config.Params
) -> None:
    release(params)
    before = {file.name: file.read_bytes() for file in RELEASE.iterdir()}
    change(path, **values)
    with pytest.raises(ContractError, match=message):
        release(params)
    assert {file.name: file.read_bytes() for file in RELEASE.iterdir()} == before


@pytest.mark.parametrize(
    "name",
    [
        *("models/finetuned/model.safetensors", "models/export/model_int8.onnx"),
        *("models/engine/model.sm86.engine", "models/engine/parity.npz"),
    ],
)
def test_a_file_that_changed_since_it_was_tested_is_refused(name: str, params: config.Params) -> None:
    Path(name).write_bytes(b"another")
    with pytest.raises(ContractError, match=f"{Path(name).name} as "):
        release(params)
    assert not RELEASE.exists()


def test_what_runs_on_cpus_said_goes_along_as_it_was_said(params: config.Params) -> None:
    told = Path("models/engine/runs.npz")
    told.write_bytes(b"what it said")
    limits = {"file": told.name, "sha256": sha256_file(told), "tolerance": 1e-3, "band": 0.02}
    change("models/engine/compile.json", answers=limits)
    release(params)
    assert (RELEASE / told.name).read_bytes() == b"what it said"
    assert contract.load(RELEASE).answers == contract.ParityCases(**limits)
    told.write_bytes(b"another")
    with pytest.raises(ContractError, match="runs.npz as it was made"):
        release(params)


def test_a_reference_by_another_graph_is_refused(params: config.Params) -> None:
    observed.write(Path("data/reference.npz"), "ef" * 32)
    with pytest.raises(ContractError, match=r"a reference by the exported graph.*efef"):
        release(params)
    assert not RELEASE.exists()


def test_an_engine_of_a_graph_that_is_not_in_the_release_is_refused(params: config.Params) -> None:
    other = compiled.engine(Path("models/engine/model.sm86.engine"), onnx_sha256="ef" * 32)
    change("models/engine/compile.json", engines=[other.model_dump()])
    with pytest.raises(ContractError, match=r"model.sm86.engine of a graph of this release.*efef"):
        release(params)
    assert not RELEASE.exists()


@pytest.mark.parametrize("key", ["source", "licence"])
def test_data_without_a_stated_right_is_not_released(key: str, params: config.Params) -> None:
    with pytest.raises(ContractError, match=rf"data\.{key} stated for a release; found empty"):
        release(params.model_copy(update={"data": params.data.model_copy(update={key: "  "})}))
    assert not RELEASE.exists()


def test_data_under_the_words_of_the_demo_are_not_released(params: config.Params) -> None:
    own = params.data.model_copy(update={"dicom_dir": Path("/scans"), "source": "Hospital B"})
    with pytest.raises(ContractError, match=r"data\.licence stated for a release; found that of the embedded demo"):
        release(params.model_copy(update={"data": own}))
    assert not RELEASE.exists()


def test_a_missing_key_file_is_refused_rather_than_unsigned(params: config.Params, tmp_path: Path) -> None:
    missing = params.release.model_copy(update={"key_file": tmp_path / "nowhere"})
    with pytest.raises(ContractError, match="no such file"):
        release(params.model_copy(update={"release": missing}))
    assert not RELEASE.exists()
