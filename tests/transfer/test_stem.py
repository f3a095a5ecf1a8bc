"""One channel instead of three, and the same network."""

from __future__ import annotations

import copy
from pathlib import Path

import pytest
import torch
from timm.layers import StdConv2d
from torch import nn

from pipeline.errors import StemError
from pipeline.training_config import Backbone
from pipeline.transfer import stem
from pipeline.transfer.backbone import empty_trunk, feature_count, load, source, trunk
from pipeline.transfer.networks import create
from tests.families import Family, each_family, network

UNEQUAL = ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))


@pytest.mark.parametrize("padding", [0, 1, 3])
def test_a_padded_stem_with_unequal_means_is_exact(padding: int) -> None:
    torch.manual_seed(padding)
    original = nn.Sequential(nn.Conv2d(3, 8, 7, padding=padding), nn.Flatten(), nn.LazyLinear(5))
    original(torch.zeros(1, 3, 24, 24))
    adapted = stem.adapt(original, "net", *UNEQUAL)
    assert stem.prove(original, adapted, "net", *UNEQUAL, 24) <= 1e-5


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


@each_family
def test_every_family_goes_to_one_channel_and_the_proof_is_about_something(family: Family) -> None:
    original = network(family)
    stated = source(family.name, original)
    adapted = stem.adapt(original, family.name, stated.mean, stated.std)
    assert stem.prove(original, adapted, family.name, stated.mean, stated.std, family.size) <= 1e-4
    with torch.no_grad():
        logits = adapted(stem.pictures(family.size))
    assert float((logits.amax(0) - logits.amin(0)).max()) > 0.01
    unlike = stem.adapt(original, family.name, (0.4, 0.5, 0.6), stated.std)
    with pytest.raises(StemError, match="after its stem went to one channel; found a difference of"):
        stem.prove(original, unlike, family.name, stated.mean, stated.std, family.size)


@pytest.mark.parametrize(
    "name",
    [
        "torchvision/squeezenet1_1",
        "mobilenetv3_small_050",
        "repvgg_a0",
        "tresnet_m",
        "nf_regnet_b0",
        "tf_efficientnet_b0",
    ],
)
def test_stems_of_other_kinds_keep_the_logits(name: str) -> None:
    """Two parallel convolutions, rearranged pixels, standardised weights, uneven padding."""
    family = Family(name, {}, 64)
    original = network(family)
    stated = source(name, original)
    adapted = stem.adapt(original, name, stated.mean, stated.std)
    stem.prove(original, adapted, name, stated.mean, stated.std, 64)
    rebuilt = empty_trunk(name, {})
    rebuilt.load_state_dict((one_channel := trunk(adapted)).state_dict())
    slices = torch.rand(2, 1, 64, 64)
    assert torch.equal(rebuilt.eval()(slices), one_channel(slices))


@pytest.mark.parametrize(
    ("name", "options", "size"),
    [
        ("torchvision/resnet18", {}, 64),
        ("torchvision/efficientnet_b0", {}, 64),
        ("torchvision/inception_v3", {}, 75),
        ("xception41", {}, 64),
        ("torchvision/densenet121", {}, 32),
        ("torchvision/convnext_tiny", {}, 32),
        ("torchvision/vit_b_32", {"image_size": 64}, 64),
    ],
)
def test_the_other_librarys_form_of_a_family_goes_to_one_channel_too(
    name: str, options: dict[str, int], size: int
) -> None:
    original = network(Family(name, options, size))
    stated = source(name, original)
    adapted = stem.adapt(original, name, stated.mean, stated.std)
    stem.prove(original, adapted, name, stated.mean, stated.std, size)


@pytest.mark.parametrize("padding_mode", ["zeros", "reflect", "circular"])
@pytest.mark.parametrize("groups", [1, 3])
def test_groups_and_ways_of_padding(groups: int, padding_mode: str) -> None:
    torch.manual_seed(2)
    conv = nn.Conv2d(3, 6, 5, stride=2, padding=2, groups=groups, padding_mode=padding_mode)
    original = nn.Sequential(conv, nn.ReLU(), nn.Flatten())
    adapted = stem.adapt(original, "net", *UNEQUAL)
    assert isinstance(adapted[0], stem.GreyStem)
    assert stem.prove(original, adapted, "net", *UNEQUAL, 24) <= 1e-5


def test_weights_that_are_standardised_as_it_runs_are_not_folded() -> None:
    """Scaled kernels would be standardised to other ones."""
    torch.manual_seed(2)
    original = nn.Sequential(StdConv2d(3, 6, 5, padding=2), nn.ReLU(), nn.Flatten())
    adapted = stem.adapt(original, "net", *UNEQUAL)
    assert isinstance(adapted[0], stem.RgbStem)
    assert stem.prove(original, adapted, "net", *UNEQUAL, 24) == 0
    folded = copy.deepcopy(original)
    folded[0] = stem.GreyStem(original[0], *UNEQUAL)
    with pytest.raises(StemError, match="a difference of"):
        stem.prove(original, folded, "net", *UNEQUAL, 24)


def test_wrong_means_are_noticed() -> None:
    torch.manual_seed(1)
    original = create("resnet10t", {})
    adapted = stem.adapt(original, "resnet10t", (0.5, 0.5, 0.5), (0.5, 0.5, 0.5))
    with pytest.raises(StemError):
        stem.prove(original, adapted, "resnet10t", *UNEQUAL, 64)


def test_a_stem_that_cannot_be_adapted_is_an_error() -> None:
    with pytest.raises(StemError, match="a convolution with 3 input channels, .* first layer of linear; found none"):
        stem.find(nn.Sequential(nn.Flatten(), nn.Linear(3, 2)), "linear")


def test_a_first_step_that_is_no_layer_is_found_out() -> None:
    class Scaling(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.conv = nn.Conv2d(3, 4, 3)

        def forward(self, picture: torch.Tensor) -> torch.Tensor:
            return self.conv(picture * torch.tensor([1.0, 2.0, 3.0]).view(1, 3, 1, 1)).mean((2, 3))

    adapted = stem.adapt(original := Scaling(), "scaling", *UNEQUAL)
    with pytest.raises(
        StemError, match=r"found a network that fails after that \(RuntimeError: .*does more than convolve"
    ):
        stem.prove(original, adapted, "scaling", *UNEQUAL, 24)


@pytest.mark.parametrize(
    ("name", "options", "size"),
    [
        ("torchvision/vgg11", {}, 31),
        ("torchvision/alexnet", {}, 62),
        ("inception_v3", {}, 74),
        ("torchvision/inception_v3", {}, 74),
        ("densenet121", {}, 16),
        ("vit_tiny_patch16_224", {}, 64),
        ("torchvision/vit_b_32", {"image_size": 64}, 96),
        ("swin_tiny_patch4_window7_224", {}, 64),
    ],
)
def test_a_size_that_the_network_refuses_is_an_error(name: str, options: dict[str, int], size: int) -> None:
    original = create(name, options)
    stated = source(name, original)
    adapted = stem.adapt(original, name, stated.mean, stated.std)
    expected = rf"expected {name} to take pictures of {size} x {size}; found \w+: .*Change prepare\.size"
    with pytest.raises(StemError, match=expected):
        stem.prove(original, adapted, name, stated.mean, stated.std, size)


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
    original, _, stated = load(chosen)
    adapted = stem.adapt(original, name, stated.mean, stated.std)
    assert stem.prove(original, adapted, name, stated.mean, stated.std, 128) <= 1e-4
    one_channel = trunk(adapted)
    assert feature_count(one_channel, 128) == features
    assert empty_trunk(name, options).state_dict().keys() == one_channel.state_dict().keys()
