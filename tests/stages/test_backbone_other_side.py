"""The release of a network that is made for one side of pictures, as the start of a project with another."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from pipeline.errors import ConfigError
from pipeline.files import read_json, sha256_file
from pipeline.origins import Pretrained
from pipeline.stages.backbone import backbone
from pipeline.training_config import Candidate
from pipeline.transfer.backbone import empty_trunk
from pipeline.transfer.candidates import of_candidate
from pipeline.transfer.model import from_backbone
from pipeline.transfer.networks import create
from pipeline.transfer.own_release import load
from tests import own_release

OUT = Path("models/backbone")
TRANSFORMER = {"depth": 2, "embed_dim": 48, "num_heads": 3}


@pytest.fixture(scope="module")
def of_transformer(root: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The release of a small vision transformer, which is made for one side of pictures."""
    folder = tmp_path_factory.mktemp("transformer")
    torch.manual_seed(4)
    save_file(create("vit_tiny_patch16_224", TRANSFORMER).state_dict(), folder / "vit.safetensors")
    section = {"name": "vit_tiny_patch16_224", "options": TRANSFORMER, "file": folder / "vit.safetensors"}
    chosen = own_release.params(root, data=own_release.DATA, weights="file", **section)
    return own_release.make(folder / "v", chosen, "task-v")


def test_a_transformer_is_resampled_for_pictures_of_another_size(
    root: Path, of_transformer: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    backbone(own_release.params(root, size=48, name=None, options={}, weights="file", file=of_transformer))
    card = Pretrained.model_validate(read_json(OUT / "card.json"))
    assert card.options == {**TRANSFORMER, "img_size": 48}
    assert card.resampled == ["pos_embed"]
    assert card.parity["size"] == own_release.SIZE
    assert "backbone: resampled for prepare.size: pos_embed" in capfd.readouterr().err
    ours, theirs = load_file(OUT / "backbone.safetensors"), load_file(of_transformer / "trunk.safetensors")
    assert [key for key in theirs if not torch.equal(ours[key], theirs[key])] == ["pos_embed"]
    assert (theirs["pos_embed"].shape[1], ours["pos_embed"].shape[1]) == (5, 10)
    model = from_backbone(OUT, 48, 0.0, pretrained=True)
    assert model(torch.rand(3, 1, 48, 48)).shape == (3, 1)
    # The file that the release began with says nothing about what it had learnt.
    assert [origin.task for origin in card.origins][1:] == ["not stated"]


def test_as_a_candidate_it_is_resampled_too(root: Path, of_transformer: Path) -> None:
    pinned = {"file": of_transformer, "sha256": sha256_file(of_transformer / "trunk.safetensors")}
    candidate = Candidate.model_validate({"name": None, "weights": "file", **pinned})
    network = of_candidate(candidate, 48, [])
    assert network.facts["options"] == {**TRANSFORMER, "img_size": 48}
    assert network.trunk(torch.rand(2, 1, 48, 48)).shape == (2, 48)


def test_a_release_that_cannot_be_resampled_names_its_size(root: Path, of_transformer: Path) -> None:
    """A mixer, whose layers have a weight for each place."""
    start = load(own_release.params(root, name=None, options={}, weights="file", file=of_transformer).backbone)
    options = {"img_size": own_release.SIZE}
    trunk = empty_trunk("mixer_s16_224", options)
    of_mixer = start.manifest.backbone.model_copy(update={"name": "mixer_s16_224", "options": options})
    manifest = start.manifest.model_copy(update={"backbone": of_mixer})
    weights = replace(start.weights, state=trunk.state_dict())
    mixer = replace(start, trunk=trunk, options=options, manifest=manifest, weights=weights)
    assert mixer.at(own_release.SIZE) is mixer
    with pytest.raises(
        ConfigError, match=r"prepare\.size: 32, .*found 48, for which its mixer.*Set prepare.size to 32"
    ):
        mixer.at(48)
