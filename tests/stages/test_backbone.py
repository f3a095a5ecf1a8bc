"""Stage `backbone` with each origin of weights: what it leaves, what it says, and that none stands in for another."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import timm
import torch
from safetensors.torch import load_file, save_file

from pipeline import config
from pipeline.errors import ConfigError, WeightsError
from pipeline.files import read_json, sha256_file
from pipeline.origins import Pretrained
from pipeline.stages.backbone import backbone
from pipeline.training_config import Backbone
from pipeline.transfer.model import from_backbone
from tests import embedded_backbone, model_hub

OUT = Path("models/backbone")
ORIGINS = ("embedded", "file", "hub")
PLACE = "timm/resnet18.a1_in1k/model.safetensors"

Choose = Callable[..., config.Params]


@pytest.fixture(autouse=True)
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty project, which is the current folder."""
    (tmp_path / "project").mkdir()
    monkeypatch.chdir(tmp_path / "project")
    return tmp_path / "project"


@pytest.fixture
def hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[model_hub.ModelHub]:
    """A hub that has nothing yet."""
    with model_hub.ModelHub().serving() as serving:
        model_hub.ask(serving.endpoint, tmp_path / "cache", monkeypatch)
        yield serving


@pytest.fixture
def choose(root: Path) -> Choose:
    """Parameters with this section `backbone`, of the network that all origins here have."""
    shipped = config.load(root / "params.yaml")

    def params(weights: str, **more: object) -> config.Params:
        section = {"name": embedded_backbone.NAME, "options": embedded_backbone.OPTIONS, "weights": weights}
        chosen = Backbone.model_validate({**section, "file": Path("models/weights"), **more})
        small = shipped.prepare.model_copy(update={"size": 48})
        return shipped.model_copy(update={"backbone": chosen, "prepare": small})

    return params


def _offer(origin: str, hub: model_hub.ModelHub) -> None:
    """Make this origin have weights."""
    torch.manual_seed(ORIGINS.index(origin))
    network = timm.create_model(embedded_backbone.NAME, pretrained=False, **embedded_backbone.OPTIONS)
    if origin == "embedded":
        embedded_backbone.make(Path())
    else:
        Path("models/weights").mkdir(parents=True)
        save_file(network.state_dict(), Path("models/weights/net.safetensors"))
    if origin == "hub":
        hub.files[PLACE] = Path("models/weights/net.safetensors").read_bytes()
        shutil.rmtree("models/weights")


def test_the_embedded_one_is_named_wherever_it_is_used(
    hub: model_hub.ModelHub, choose: Choose, capfd: pytest.CaptureFixture[str]
) -> None:
    _offer("embedded", hub)
    backbone(choose("embedded"))
    card, own = read_json(OUT / "card.json"), read_json(Path("models/embedded/card.json"))
    found = Pretrained.model_validate(card)  # what the contract of a release must hold
    assert (found.name, found.weights, found.origin) == ("resnet18", "embedded", f"embedded: {own['data']}")
    assert (found.sha256, found.verified) == (own["sha256"], "SHA-256 as stated by its card")
    assert (found.licence, list(found.mean)) == (own["licence"], own["mean"])
    assert str(found.restriction).startswith("No commercial use")
    assert found.trained == {key: own[key] for key in found.trained or {}}
    assert (found.trained or {})["top1"] == own["top1"]
    said = capfd.readouterr().err
    for words in (
        f"backbone: resnet18 with weights: embedded, embedded: {own['data']}; licence: {own['licence']}",
        f"backbone: SHA-256 {own['sha256']}, SHA-256 as stated by its card",
        "top-1 0.143 on 7 images",
        "No commercial use",
    ):
        assert words in said
    assert hub.asked == []
    assert sorted(path.name for path in OUT.iterdir()) == ["backbone.safetensors", "card.json"]


def test_the_one_channel_network_has_the_embedded_ones_tensors(hub: model_hub.ModelHub, choose: Choose) -> None:
    _offer("embedded", hub)
    backbone(choose("embedded"))
    embedded = load_file("models/embedded/backbone.safetensors")
    made = from_backbone(OUT, 48, 0.0, pretrained=True).trunk.state_dict()
    assert read_json(OUT / "card.json")["parity"]["max_abs_logit_difference"] <= 1e-4
    same = [key for key in made if key in embedded and torch.equal(made[key], embedded[key].to(made[key].dtype))]
    assert len(same) == len(embedded) - len({"conv1.weight", "fc.weight", "fc.bias"})


@pytest.mark.parametrize("origin", ORIGINS)
def test_two_runs_give_the_same_bytes(hub: model_hub.ModelHub, choose: Choose, origin: str) -> None:
    _offer(origin, hub)

    def run() -> dict[str, bytes]:
        shutil.rmtree(OUT, ignore_errors=True)
        backbone(choose(origin))
        return {path.name: path.read_bytes() for path in OUT.iterdir()}

    assert run() == run()


def test_what_a_hub_sent_is_kept_among_the_outputs(hub: model_hub.ModelHub, choose: Choose) -> None:
    _offer("hub", hub)
    backbone(choose("hub"))
    assert (OUT / "source.safetensors").read_bytes() == hub.files[PLACE]
    card = read_json(OUT / "card.json")
    assert card["origin"] == f"hub:{PLACE}"
    assert card["sha256"] == sha256_file(OUT / "source.safetensors")
    assert (card["verified"], card["licence"]) == ("SHA-256 as stated by the hub", "apache-2.0")
    assert (card["restriction"], card["trained"]) == (None, None)


def test_a_hub_with_a_pytorch_file_only(hub: model_hub.ModelHub, choose: Choose, tmp_path: Path) -> None:
    _offer("file", hub)
    torch.save(load_file("models/weights/net.safetensors"), tmp_path / "w.bin")
    hub.files[PLACE.replace("model.safetensors", "pytorch_model.bin")] = (tmp_path / "w.bin").read_bytes()
    backbone(choose("hub"))
    assert (OUT / "source.bin").read_bytes() == (tmp_path / "w.bin").read_bytes()


def test_a_pin_is_compared_with_what_the_hub_sends(hub: model_hub.ModelHub, choose: Choose) -> None:
    _offer("hub", hub)
    with pytest.raises(WeightsError, match=r"0{64} as stated by backbone\.sha256; found [0-9a-f]{64} at"):
        backbone(choose("hub", sha256="0" * 64))
    assert not OUT.exists()


def test_a_file_that_changed_in_the_hubs_cache_is_refused(
    hub: model_hub.ModelHub, choose: Choose, tmp_path: Path
) -> None:
    _offer("hub", hub)
    backbone(choose("hub"))
    (kept,) = (path for path in (tmp_path / "cache").rglob("blobs/*") if path.is_file())
    kept.write_bytes(kept.read_bytes()[:-1] + b"!")
    with pytest.raises(WeightsError, match=rf"{kept.name} as stated by the hub; found .*remove it"):
        backbone(choose("hub"))


@pytest.mark.parametrize("other", ORIGINS)
@pytest.mark.parametrize("origin", ORIGINS)
def test_no_origin_stands_in_for_another(hub: model_hub.ModelHub, choose: Choose, origin: str, other: str) -> None:
    """Only `other` has weights."""
    _offer(other, hub)
    if origin == other:
        backbone(choose(origin))
        return
    with pytest.raises(WeightsError):
        backbone(choose(origin))
    assert not OUT.exists()
    assert hub.asked == [] or origin == "hub"


def test_a_licence_that_forbids_commercial_use_is_refused_before_anything_is_fetched(
    hub: model_hub.ModelHub, choose: Choose
) -> None:
    of_meta = {"name": "convnextv2_atto.fcmae_ft_in1k", "options": {}, "allow_non_commercial": False}
    with pytest.raises(WeightsError, match="found the licence 'cc-by-nc-4.0'"):
        backbone(choose("hub", **of_meta))
    assert hub.asked == []
    assert not OUT.exists()


def test_a_network_that_is_not_the_embedded_one_is_refused(hub: model_hub.ModelHub, choose: Choose) -> None:
    _offer("embedded", hub)
    with pytest.raises(ConfigError, match="which is the embedded backbone"):
        backbone(choose("embedded", name="mobilenetv2_100", options={}))
    assert not OUT.exists()


def test_a_network_made_for_one_side_is_made_for_prepares(
    choose: Choose, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    torch.manual_seed(3)
    small = {"depth": 2}
    made = timm.create_model("vit_tiny_patch16_224", pretrained=False, **small)
    save_file(made.state_dict(), tmp_path / "vit.safetensors")
    backbone(choose("file", name="vit_tiny_patch16_224", options=small, file=tmp_path / "vit.safetensors"))
    card = Pretrained.model_validate(read_json(OUT / "card.json"))
    assert card.options == {**small, "img_size": 48}
    assert card.resampled == ["pos_embed"]
    assert "backbone: resampled for prepare.size: pos_embed" in capfd.readouterr().err
    model = from_backbone(OUT, 48, 0.0, pretrained=True)
    assert model(torch.rand(3, 1, 48, 48)).shape == (3, 1)
    assert model.trunk.state_dict()["pos_embed"].shape == (1, 10, 192)
