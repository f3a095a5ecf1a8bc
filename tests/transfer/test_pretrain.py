"""The recipe of the embedded backbone, on photographs made here."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

import numpy as np
import pytest
import torch
import yaml

from pipeline import typed_yaml
from pipeline.errors import TrainingError
from pipeline.transfer import backbone, images, pretrain, pretrain_result, views
from pipeline.transfer.checkpoint import Checkpoint
from pipeline.transfer.recipe import Recipe
from tests import photographs
from tests.photographs import NAME
from tests.stopping import Stop, StopsAfter


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, root: Path) -> Path:
    """The shipped recipe, shrunk."""
    photographs.shrink(tmp_path, root / "models/embedded/params.yaml")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.chdir(tmp_path)
    return tmp_path


def change(folder: Path, section: str, **values: object) -> None:
    recipe = yaml.safe_load((folder / "params.yaml").read_text())
    recipe[section] |= values
    (folder / "params.yaml").write_text(yaml.safe_dump(recipe))


@pytest.fixture
def taught(folder: Path) -> Path:
    assert pretrain.main(["decode"]) == 0
    assert pretrain.main(["teach"]) == 0
    return folder


def job(checkpoint: Checkpoint) -> pretrain.Pretraining:
    recipe = typed_yaml.read(Path("params.yaml"), Recipe)
    return pretrain.Pretraining(recipe, images.load(Path("decoded/train")), np.load("taught.npy"), checkpoint)


def test_three_steps_end_in_a_backbone_and_a_card_that_is_true_of_it(taught: Path) -> None:
    assert pretrain.main(["train"]) == 0
    file = taught / "trained" / "backbone.safetensors"
    card = json.loads((taught / "trained" / "card.json").read_text())
    assert card["sha256"] == hashlib.sha256(file.read_bytes()).hexdigest()
    assert (card["classes"], card["train_images"], card["top1_images"]) == (3, 96, 48)
    assert card["teachers"] == [NAME, NAME]
    assert card["top1"] > 0.6  # a third by chance
    found = backbone.Backbone(name=NAME, weights="file", file=file, mean=card["mean"], std=card["std"])
    network, _, source = backbone.load(found)
    again = pretrain_result.accuracy(network, images.load(Path("decoded/val")), 32, source.mean, source.std)
    assert again == pytest.approx(card["top1"], abs=5e-5)
    assert not list((taught / "cache").rglob("checkpoint.pt"))  # it is over


def test_what_is_taught_are_the_teachers_features_of_every_view(taught: Path) -> None:
    found = np.load("taught.npy")
    first, second = np.split(found, 2, axis=2)
    np.testing.assert_array_equal(first, second)  # the shrunk recipe has one teacher twice
    teacher = typed_yaml.read(Path("params.yaml"), Recipe).teachers[0]
    network, _, source = backbone.load(teacher)
    trunk = backbone.trunk(network)
    pixels = torch.from_numpy(np.array(images.load(Path("decoded/train")).pixels))
    for number in range(2):
        crops = views.crop(pixels, torch.from_numpy(views.boxes(len(pixels), number)), teacher.size)
        with torch.no_grad():
            expected = trunk(views.normalise(crops, source.mean, source.std)).numpy()
        assert (first[number].shape, found.dtype) == (expected.shape, np.float16)
        np.testing.assert_allclose(first[number], expected, atol=0.05 * expected.std())  # the teacher ran in bf16


@pytest.mark.parametrize("saves", [2, 6])
def test_a_training_that_stopped_at_any_step_ends_as_if_it_had_not(taught: Path, saves: int) -> None:
    """Within the first epoch of 6 steps, and at its end."""
    change(taught, "train", epochs=2, checkpoint_s=1e-9)
    whole = job(Checkpoint(taught / "whole", NAME, [], {})).run().state_dict()

    with pytest.raises(Stop):
        job(StopsAfter(saves, taught / "cut", NAME, [], {})).run()
    resumed = job(Checkpoint(taught / "cut", NAME, [], {})).run().state_dict()
    for key, value in whole.items():
        torch.testing.assert_close(resumed[key], value)


def test_a_loss_that_is_not_finite_is_an_error(taught: Path) -> None:
    change(taught, "train", learning_rate=1e30)
    with pytest.raises(TrainingError, match=r"finite loss.*train\.learning_rate"):
        job(Checkpoint(taught / "wild", NAME, [], {})).run()


def test_errors_name_what_to_do(taught: Path, capsys: pytest.CaptureFixture[str]) -> None:
    change(taught, "images", train="nowhere")
    assert pretrain.main(["decode"]) == 1
    assert "no such folder" in capsys.readouterr().err
    (taught / "decoded/val/labels.json").write_text('{"classes": ["other"], "labels": [0]}')
    assert pretrain.main(["train"]) == 1
    assert "the same classes on both sides" in capsys.readouterr().err
    (taught / "params.yaml").write_text("seed: 1\nimage: {}\n")
    assert pretrain.main(["decode"]) == 1
    assert "Did you mean 'images'?" in capsys.readouterr().err


def test_a_network_that_is_too_large_is_refused_before_it_trains(
    taught: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    recipe = yaml.safe_load((taught / "params.yaml").read_text()) | {"max_megabytes": 0.1}
    (taught / "params.yaml").write_text(yaml.safe_dump(recipe))
    assert pretrain.main(["train"]) == 1
    assert "at most 0.1 MB of weights" in capsys.readouterr().err
    assert not (taught / "trained").exists()
