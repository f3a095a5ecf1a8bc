"""One channel instead of three, and the same network."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import nn

from pipeline.errors import StemError
from pipeline.training_config import Backbone
from pipeline.transfer import stem
from pipeline.transfer.backbone import empty_trunk, feature_count, load, source, trunk
from pipeline.transfer.networks import create

UNEQUAL = ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))


@pytest.mark.parametrize("padding", [0, 1, 3])
def test_a_padded_stem_with_unequal_means_is_exact(padding: int) -> None:
    torch.manual_seed(padding)
    network = nn.Sequential(nn.Conv2d(3, 8, 7, padding=padding), nn.Flatten(), nn.LazyLinear(5))
    network(torch.zeros(1, 3, 24, 24))
    adapted = stem.adapt(network, "net", *UNEQUAL)
    assert stem.prove(network, adapted, "net", *UNEQUAL, 24) <= 1e-5


def test_folding_the_mean_into_a_bias_is_what_this_avoids() -> None:
    """The check sees the difference at padded borders that a bias would make."""
    torch.manual_seed(0)
    conv = nn.Conv2d(3, 8, 3, padding=1)
    means, stds = (torch.tensor(values).view(1, 3, 1, 1) for values in UNEQUAL)
    folded = nn.Conv2d(1, 8, 3, padding=1)
    folded.weight = nn.Parameter((conv.weight / stds).sum(1, keepdim=True))
    assert conv.bias is not None
    folded.bias = nn.Parameter(conv.bias - (conv.weight * means / stds).sum((1, 2, 3)))
    head = nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten())
    with pytest.raises(StemError, match="difference of"):
        stem.prove(nn.Sequential(conv, head), nn.Sequential(folded, head), "net", *UNEQUAL, 24)


@pytest.mark.parametrize("name", ["resnet10t", "mobilenetv3_small_050", "torchvision/squeezenet1_1", "convnext_atto"])
def test_networks_of_both_libraries_keep_their_logits(name: str) -> None:
    torch.manual_seed(1)
    network = create(name, {})
    stated = source(name, network)
    assert (
        stem.prove(network, stem.adapt(network, name, stated.mean, stated.std), name, stated.mean, stated.std, 64)
        <= 1e-4
    )


def test_wrong_means_are_noticed() -> None:
    torch.manual_seed(1)
    network = create("resnet10t", {})
    adapted = stem.adapt(network, "resnet10t", (0.5, 0.5, 0.5), (0.5, 0.5, 0.5))
    with pytest.raises(StemError):
        stem.prove(network, adapted, "resnet10t", *UNEQUAL, 64)


def test_a_stem_that_cannot_be_adapted_is_an_error() -> None:
    with pytest.raises(StemError, match="one convolution with 3 input channels in linear; found 0"):
        stem.find(nn.Sequential(nn.Flatten(), nn.Linear(3, 2)), "linear")
    twice = nn.ModuleList([nn.Conv2d(3, 4, 3), nn.Conv2d(3, 4, 5)])
    with pytest.raises(StemError, match="found 2: 0, 1"):
        stem.find(twice, "twice")


@pytest.mark.parametrize(
    ("name", "file", "options", "mean", "features"),
    [
        ("mobilenetv2_100", "mobilenetv2_100", {"pad_type": "same"}, (0.5, 0.5, 0.5), 1280),
        ("torchvision/squeezenet1_1", "squeezenet1_1", {}, None, 512),
    ],
)
def test_released_weights_go_to_one_channel(
    shared: Path, name: str, file: str, options: dict[str, str], mean: tuple[float, float, float] | None, features: int
) -> None:
    path = shared / "weights" / f"{file}.safetensors"
    chosen = Backbone(name=name, weights="file", file=path, options=options, mean=mean, std=mean)
    network, _, stated = load(chosen)
    adapted = stem.adapt(network, name, stated.mean, stated.std)
    assert stem.prove(network, adapted, name, stated.mean, stated.std, 128) <= 1e-4
    one_channel = trunk(adapted)
    assert feature_count(one_channel, 128) == features
    assert empty_trunk(name, options).state_dict().keys() == one_channel.state_dict().keys()
