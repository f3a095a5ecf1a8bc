"""The stage on a small project: features, probe, figures by layer and the recommendation."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import yaml
from safetensors.torch import save_file

from pipeline.config import Params
from pipeline.errors import ConfigError, TrainingError, WeightsError
from pipeline.files import read_csv, read_json, sha256_file, write_csv, write_json
from pipeline.stages.features import features
from pipeline.transfer import advisor, candidates, domain, probe, stem
from pipeline.transfer.backbone import create, source, trunk
from tests import embedded_backbone

NAME, SIZE = "resnet10t", 32


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """30 patients of 3 slices, half of them with a bright square, and an untrained backbone; the current folder."""
    monkeypatch.chdir(tmp_path)
    rng = np.random.default_rng(1)
    pixels = rng.integers(20, 90, (90, SIZE, SIZE)).astype(np.uint8)
    rows = []
    for row in range(90):
        patient = row // 3
        if patient % 2:
            y, x = rng.integers(4, 20, 2)
            pixels[row, y : y + 8, x : x + 8] += 120
        side = "train" if patient < 16 else "val" if patient < 24 else "test"
        unit = {"series": f"S{patient}", "patient": f"P{patient}", "slice_index": row % 3, "unit": f"S{patient}"}
        rows.append(unit | {"label": patient % 2, "split": side})
    Path("data/prepared").mkdir(parents=True)
    np.save("data/prepared/slices.npy", pixels)
    write_csv(Path("data/prepared/slices.csv"), rows[0], rows)
    torch.manual_seed(5)
    network = create(NAME, {})
    stated = source(NAME, network)
    Path("models/backbone").mkdir(parents=True)
    adapted = trunk(stem.adapt(network, NAME, stated.mean, stated.std))
    tensors = {key: value.contiguous() for key, value in adapted.state_dict().items()}
    save_file(tensors, "models/backbone/backbone.safetensors")
    card = {"name": NAME, "options": {}, "weights": "file", "origin": "a file", "sha256": "ab" * 32}
    write_json(Path("models/backbone/card.json"), card)
    return tmp_path


@pytest.fixture
def settings(root: Path, tmp_path: Path) -> dict[str, Any]:
    """params.yaml as shipped, with a cache of its own."""
    shipped: dict[str, Any] = yaml.safe_load((root / "params.yaml").read_text())
    shipped["cache_dir"] = str(tmp_path / "cache")
    shipped["prepare"]["size"] = SIZE
    shipped["features"]["probe_c"] = [0.01, 0.1]
    return shipped


def run(settings: dict[str, Any], **of_features: object) -> None:
    features(Params.model_validate(settings | {"features": settings["features"] | of_features}))


def test_the_probe_is_that_of_the_layer_best_on_validation_patients(project: Path, settings: dict[str, Any]) -> None:
    run(settings)
    report = read_json(project / "reports/probe.json")
    scores = {name: row["val_auroc"] for name, row in report["layers"].items()}
    depth = {name: row["depth"] for name, row in report["layers"].items()}
    best = max(scores, key=lambda name: (scores[name], depth[name]))
    assert report["probe"]["layer"] == best
    assert list(scores)[-1] == "layer4.0"
    assert len(scores) >= 4
    values = np.load(project / "data/features/features.npy")
    assert values.shape == (90, report["probe"]["features"])
    fitted = probe.load(project / "models/probe")
    rows = read_csv(project / "data/prepared/slices.csv")
    val = np.array([row["split"] == "val" for row in rows])
    means = values[val].reshape(8, 3, -1).mean(1)
    labels = np.array([[int(row["label"])] for row in rows])[val][::3]
    found = probe.auroc(labels.astype(np.float32), fitted.logits(means), "binary")
    assert found == pytest.approx(report["probe"]["val_auroc"], abs=1e-6)


def test_candidates_are_measured_the_same_way(project: Path, settings: dict[str, Any]) -> None:
    card = embedded_backbone.make(project)
    other = {"name": card["name"], "options": card["options"], "weights": "embedded"}
    run(settings, candidates=[other])
    found = read_json(project / "reports/transferability.json")
    assert set(found["candidates"]) == {NAME, "resnet18"}
    assert found["candidates"]["resnet18"]["sha256"] == card["sha256"]
    for candidate in found["candidates"].values():
        for row in candidate["layers"].values():
            keys = {"c", "cv_auroc", "val_auroc", "logme", "domain_distance", "depth", "features"}
            assert set(row) == keys
    assert found["training"] == {"patients": 16, "patients_of_rarest": 8, "units": 16}
    assert advisor.sentences(found["advice"])[0].startswith("Backbone: ")
    alone = read_json(project / "reports/probe.json")["layers"]
    assert alone == found["candidates"][NAME]["layers"]


def test_the_domain_distance_is_that_of_the_training_patients(project: Path, settings: dict[str, Any]) -> None:
    run(settings)
    found = read_json(project / "reports/transferability.json")["candidates"][NAME]["domain_distance"]
    slices, rows = np.load("data/prepared/slices.npy"), read_csv(Path("data/prepared/slices.csv"))
    train = np.flatnonzero([row["split"] == "train" for row in rows])
    network = candidates.of_stage(Path("models/backbone")).trunk
    assert found == pytest.approx(domain.distance(network, slices, train, 64).value, abs=2e-6)
    assert found != pytest.approx(domain.distance(network, slices, np.arange(len(rows)), 64).value, abs=2e-6)


def test_two_candidates_of_one_name_are_both_there(project: Path, settings: dict[str, Any]) -> None:
    torch.manual_seed(6)
    save_file(create(NAME, {}).state_dict(), project / "other.safetensors")
    file = project / "other.safetensors"
    run(settings, candidates=[{"name": NAME, "weights": "file", "file": str(file), "sha256": sha256_file(file)}])
    found = read_json(project / "reports/transferability.json")
    assert set(found["candidates"]) == {NAME, f"{NAME} (2)"}
    assert found["chosen"] == NAME


def test_a_candidate_may_push_the_chosen_backbones_features_out_of_the_cache(
    project: Path, settings: dict[str, Any]
) -> None:
    run(settings)
    wanted = (project / "data/features/features.npy").read_bytes()
    taken = sum(path.stat().st_size for path in (project / "cache/features").iterdir())
    torch.manual_seed(6)
    file = project / "other.safetensors"
    save_file(create(NAME, {}).state_dict(), file)
    settings["cache_dir"] = str(project / "small")  # has room for one of the two
    other = {"name": NAME, "weights": "file", "file": str(file), "sha256": sha256_file(file)}
    run(settings, candidates=[other], cache_gigabytes=taken / 1e9)
    assert (project / "data/features/features.npy").read_bytes() == wanted
    assert sum(path.stat().st_size for path in (project / "small/features").iterdir()) <= taken


def test_a_candidate_made_for_one_side_is_made_for_prepares(project: Path, settings: dict[str, Any]) -> None:
    small = {"depth": 2, "embed_dim": 48, "num_heads": 3}
    torch.manual_seed(6)
    file = project / "vit.safetensors"
    save_file(create("vit_tiny_patch16_224", small).state_dict(), file)
    other = {"name": "vit_tiny_patch16_224", "options": small, "weights": "file", "file": str(file)}
    run(settings, candidates=[other | {"sha256": sha256_file(file)}])
    found = read_json(project / "reports/transferability.json")["candidates"]["vit_tiny_patch16_224"]
    assert found["options"] == {**small, "img_size": SIZE}
    assert {layer["features"] for layer in found["layers"].values()} == {96}  # mean and maximum of each channel


def test_equal_inputs_give_equal_bytes_and_nothing_is_computed_again(
    project: Path, settings: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    def everything() -> dict[Path, bytes]:
        folders = ("data/features", "models/probe", "reports")
        return {path: path.read_bytes() for folder in folders for path in (project / folder).iterdir()}

    run(settings)
    first = everything()
    assert len(first) == 4
    monkeypatch.setattr("pipeline.transfer.activations._rows", None)
    run(settings)
    assert everything() == first


def test_test_patients_do_not_matter(project: Path, settings: dict[str, Any]) -> None:
    run(settings)
    first = (project / "reports/transferability.json").read_bytes()
    rows = read_csv(project / "data/prepared/slices.csv")
    changed = [row | ({"label": "1"} if row["split"] == "test" else {}) for row in rows]
    write_csv(project / "data/prepared/slices.csv", changed[0], changed)
    run(settings)
    assert (project / "reports/transferability.json").read_bytes() == first


def test_several_classes(project: Path, settings: dict[str, Any]) -> None:
    rows = read_csv(project / "data/prepared/slices.csv")
    for row in rows:
        row["label"] = str((int(row["patient"][1:]) % 2) + (row["patient"] in {"P1", "P3"}))
    write_csv(project / "data/prepared/slices.csv", rows[0], rows)
    settings["data"] |= {"task": "multiclass", "classes": ["none", "one", "other"], "positive": None}
    run(settings)  # the third class has two patients, and none in validation
    assert probe.load(project / "models/probe").bias.shape == (3,)
    assert read_json(project / "reports/transferability.json")["training"]["patients_of_rarest"] == 2


def test_a_class_without_training_units_is_an_error(project: Path, settings: dict[str, Any]) -> None:
    rows = read_csv(project / "data/prepared/slices.csv")
    changed = [row | ({"label": "0"} if row["split"] == "train" else {}) for row in rows]
    write_csv(project / "data/prepared/slices.csv", changed[0], changed)
    with pytest.raises(TrainingError, match="of which 0 have class"):
        run(settings)


def test_a_layer_that_does_not_exist_is_an_error_that_names_the_nearest(
    project: Path, settings: dict[str, Any]
) -> None:
    with pytest.raises(ConfigError, match=r"layer3\.0"):
        run(settings, layers=["layer3.5"])
    assert not (project / "models/probe").exists()


def test_a_candidate_that_is_not_embedded_must_be_pinned(project: Path, settings: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="weights: file needs the file's sha256"):
        run(settings, candidates=[{"name": NAME, "weights": "file", "file": "/nowhere.safetensors"}])
    with pytest.raises(ValueError, match="weights: hub needs the file's sha256"):
        run(settings, candidates=[{"name": NAME, "weights": "hub"}])
    with pytest.raises(WeightsError):
        run(settings, candidates=[{"name": NAME, "weights": "file", "file": "/nowhere", "sha256": "0" * 64}])


def test_advise_prints_what_was_recommended(project: Path, settings: dict[str, Any], root: Path) -> None:
    (project / "params.yaml").write_text(yaml.safe_dump(settings))
    command = [sys.executable, "-m", "pipeline.stages.features", "--advise"]
    environment = {"PYTHONPATH": str(root), "PATH": "/usr/bin:/bin"}
    run(settings)
    before = sorted(project.rglob("*"))
    late = subprocess.run(command, cwd=project, env=environment, capture_output=True, text=True, check=True)
    assert late.stdout.splitlines() == advisor.sentences(advisor.read(project / "reports"))
    assert sorted(project.rglob("*")) == before
