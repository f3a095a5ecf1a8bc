"""The backbone that this version ships: what its card says of it holds, and so does the proof for it."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest

from pipeline import config, params, typed_yaml
from pipeline.files import read_json, sha256_file
from pipeline.stages.backbone import backbone
from pipeline.transfer import embedded, images, pretrain_result
from pipeline.transfer.backbone import load
from pipeline.transfer.recipe import Recipe

pytestmark = pytest.mark.acceptance

MOST_BYTES = 8_000_000
BACKBONE = {
    "weights": "embedded",
    "name": "resnet18",
    "options": {"channels": [32, 64, 128, 256]},
    "mean": None,
    "std": None,
}


@pytest.fixture
def project(root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> config.Params:
    """Parameters that choose the shipped backbone, in a folder with it."""
    shutil.copytree(root / embedded.EMBEDDED, tmp_path / embedded.EMBEDDED)
    shutil.copy(root / "params.yaml", tmp_path)
    monkeypatch.chdir(tmp_path)
    chosen = [f"backbone.{key}={json.dumps(value)}" for key, value in BACKBONE.items()]
    params.update(Path("params.yaml"), chosen)
    return config.load()


def test_the_file_is_the_one_of_the_card_and_small(project: config.Params) -> None:
    found = embedded.card()
    assert found.sha256 == sha256_file(embedded.tensors())
    assert embedded.tensors().stat().st_size <= MOST_BYTES
    assert found.data == "ImageNet subset, 200 classes, 64x64"
    embedded.require_chosen(found, project.backbone)


def test_the_card_is_of_the_shipped_recipe(project: config.Params) -> None:
    recipe, card = typed_yaml.read(embedded.EMBEDDED / "params.yaml", Recipe), embedded.card()
    assert (card.name, card.options) == (recipe.network.name, recipe.network.options)
    assert (card.epochs, card.resolution) == (recipe.train.epochs, recipe.train.size)
    assert (card.data, card.licence) == (recipe.images.description, recipe.images.licence)
    assert card.teachers == [teacher.name for teacher in recipe.teachers]


def test_its_one_channel_form_is_proven_and_the_same_twice(project: config.Params) -> None:
    def run() -> dict[str, bytes]:
        shutil.rmtree("models/backbone", ignore_errors=True)
        backbone(project)
        return {path.name: path.read_bytes() for path in Path("models/backbone").iterdir()}

    assert run() == run()
    assert read_json(Path("models/backbone/card.json"))["parity"]["max_abs_logit_difference"] <= 1e-4


def test_its_top_1_is_the_cards(project: config.Params, shared: Path) -> None:
    """On every fifth validation image."""
    images.decode(shared / "data/tiny-imagenet/tiny-imagenet-val.npz", Path("val"), 64)
    validation = images.load(Path("val"))
    fifth = images.Images(validation.pixels[::5], validation.labels[::5], validation.classes)
    network, _, source = load(project.backbone)
    found = pretrain_result.accuracy(network, fifth, embedded.card().resolution, source.mean, source.std)
    error = np.sqrt(found * (1 - found) / len(fifth.labels))
    assert abs(found - embedded.card().top1) < 3 * error
