"""The embedded backbone: what it was promised to be, or an error."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from pipeline.errors import ConfigError, WeightsError
from pipeline.files import read_json, write_json
from pipeline.training_config import Backbone
from pipeline.transfer.backbone import load
from tests import embedded_backbone

FILE, CARD = Path("models/embedded/backbone.safetensors"), Path("models/embedded/card.json")


@pytest.fixture(autouse=True)
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    embedded_backbone.make(tmp_path)
    return tmp_path


def chosen(**changes: object) -> Backbone:
    named = {"name": embedded_backbone.NAME, "options": embedded_backbone.OPTIONS}
    return Backbone.model_validate({**named, "weights": "embedded", "file": Path("models/weights"), **changes})


def test_it_is_loaded_with_its_own_head_and_called_what_it_is() -> None:
    network, weights, stated = load(chosen())
    for key, value in load_file(FILE).items():
        assert torch.equal(network.state_dict()[key], value.to(network.state_dict()[key].dtype))
    assert network(torch.zeros(1, 3, 64, 64)).shape == (1, embedded_backbone.CLASSES)
    assert weights.origin == f"embedded: {embedded_backbone.DATA}"
    assert "ImageNet" not in weights.origin
    assert weights.verified == "SHA-256 as stated by its card"
    assert stated.mean == (0.4, 0.5, 0.6)
    assert stated.licence == read_json(CARD)["licence"]
    assert stated.trained is not None
    assert stated.trained["data"] == embedded_backbone.DATA


def test_mean_and_std_of_the_parameters_come_before_the_cards() -> None:
    _, _, stated = load(chosen(mean=(0.5, 0.5, 0.5)))
    assert stated.mean == (0.5, 0.5, 0.5)
    assert stated.std == (0.2, 0.25, 0.3)


def test_bytes_that_are_not_the_cards_are_refused() -> None:
    content = bytearray(FILE.read_bytes())
    content[-1] ^= 1
    FILE.write_bytes(content)
    with pytest.raises(WeightsError, match=f"{read_json(CARD)['sha256']} as stated by its card; found [0-9a-f]{{64}}"):
        load(chosen())


def test_a_pin_holds_for_it_too() -> None:
    assert load(chosen(sha256=read_json(CARD)["sha256"]))[1].verified.endswith("its card and backbone.sha256")
    with pytest.raises(WeightsError, match="0{64} as stated by backbone.sha256"):
        load(chosen(sha256="0" * 64))


@pytest.mark.parametrize("change", [{"name": "resnet34"}, {"options": {}}])
def test_another_network_than_the_embedded_names_it_and_the_ways_out(change: dict[str, object]) -> None:
    with pytest.raises(ConfigError) as caught:
        load(chosen(**change))
    said = str(caught.value)
    assert "expected backbone.name: resnet18 with options {'channels': [8, 8, 16, 16]}" in said
    assert embedded_backbone.DATA in said
    assert re.search(r"Set backbone\.name and backbone\.options to those, or backbone\.weights to file or hub", said)


@pytest.mark.parametrize("missing", [FILE, CARD])
def test_a_missing_file_is_said_with_how_to_restore_it(missing: Path) -> None:
    missing.unlink()
    with pytest.raises(WeightsError, match=rf"{missing}; found no such file\. Restore both.*git checkout"):
        load(chosen())


@pytest.mark.parametrize("key", ["name", "data", "licence", "sha256", "mean", "top1"])
def test_a_card_without_what_it_must_say_is_refused(key: str) -> None:
    card = read_json(CARD)
    del card[key]
    write_json(CARD, card)
    with pytest.raises(WeightsError, match=f"card in .*{key}: Field required"):
        load(chosen())


def test_a_card_that_is_cut_is_refused() -> None:
    CARD.write_text(CARD.read_text()[:20])
    with pytest.raises(WeightsError, match="the embedded backbone's card"):
        load(chosen())


def test_its_licence_can_be_refused() -> None:
    with pytest.raises(WeightsError, match="allow_non_commercial is false"):
        load(chosen(allow_non_commercial=False))
