"""Blocks, the names by which they are meant, and what they give."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from pipeline.errors import ConfigError, StemError
from pipeline.transfer import layers
from pipeline.transfer.backbone import trunk
from pipeline.transfer.networks import create
from tests.families import Family, each_family, one_channel_trunk


@each_family
def test_every_parameter_and_every_layer_is_in_one_block(family: Family) -> None:
    net = trunk(create(family.name, family.options))
    found = layers.blocks(net)
    owned = [id(parameter) for block in found for parameter in block.parameters]
    assert sorted(owned) == sorted(id(parameter) for parameter in net.parameters())
    inside = [id(module) for block in found for outer in block.modules for module in outer.modules()]
    assert len(inside) == len(set(inside))
    leaves = {id(module) for module in net.modules() if next(module.children(), None) is None}
    assert leaves - set(inside) <= {id(module) for module in net.modules() if type(module) in (nn.Sequential,)}
    assert {id(module) for module in net.modules() if isinstance(module, nn.BatchNorm2d)} <= set(inside)
    assert [net.get_submodule(block.name) for block in found] == [block.modules[0] for block in found]


@pytest.mark.parametrize(
    ("name", "options", "expected"),
    [
        ("resnet18", {}, ["conv1", "bn1", "layer1.0", "layer1.1", "layer2.0", "layer2.1"]),
        ("torchvision/alexnet", {}, ["features.0", "features.3", "features.6", "features.8"]),
        ("convnext_atto", {}, ["stem.0", "stem.1", "stages.0.blocks.0", "stages.0.blocks.1", "stages.1.downsample.0"]),
        ("torchvision/vit_b_32", {}, ["conv_proj", "encoder.layers.encoder_layer_0", "encoder.layers.encoder_layer_1"]),
        ("torchvision/mobilenet_v2", {}, ["features.0.0", "features.0.1", "features.1", "features.2"]),
        ("swinv2_cr_tiny_224", {"img_size": 64}, ["patch_embed", "stages.0.blocks.0", "stages.0.blocks.1"]),
    ],
)
def test_blocks_have_the_names_of_their_modules(name: str, options: dict[str, int], expected: list[str]) -> None:
    found = layers.blocks(trunk(create(name, options)))
    assert [block.name for block in found][: len(expected)] == expected


def test_what_has_no_module_goes_with_the_stem() -> None:
    net = trunk(create("vit_tiny_patch16_224", {"img_size": 32}))
    stem, first = layers.blocks(net)[:2]
    assert {id(net.cls_token), id(net.pos_embed)} <= set(map(id, stem.parameters))
    assert net.pos_drop in stem.modules
    assert first.name == "blocks.0"
    assert first.modules == (net.blocks[0],)


def test_parameters_in_no_layer_at_all_are_an_error() -> None:
    class Bare(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.weight = nn.Parameter(torch.ones(1))

    with pytest.raises(StemError, match="1 parameters in none"):
        layers.blocks(Bare())
    assert layers.blocks(nn.Sequential(nn.Flatten())) == []


@pytest.fixture(scope="module")
def resnet() -> nn.Module:
    return one_channel_trunk(Family("resnet10t", {}, 64)).eval()


@pytest.mark.parametrize(
    ("learning", "frozen"),
    [(0.0, 10), (1.0, 0), (0.25, 7), (0.01, 9), ("layer2.0", 7), ("layer3", 8), ("conv1", 0), ("bn1", 5)],
)
def test_a_share_or_a_name_is_a_number_of_frozen_blocks(resnet: nn.Module, learning: str | float, frozen: int) -> None:
    assert layers.place(resnet, learning) == frozen


@pytest.mark.parametrize("name", ["layer2.9", "layer", "Layer2.0"])
def test_a_name_that_is_no_block_is_an_error_with_those_near_to_it(resnet: nn.Module, name: str) -> None:
    with pytest.raises(ConfigError, match=rf"found '{name}'\. Near to it: .*layer2"):
        layers.place(resnet, name)
    with pytest.raises(ConfigError, match="Near to it: .*layer2"), layers.outputs(resnet, [name], torch.clone):
        pass


def test_a_name_that_is_like_none_is_an_error_with_all_of_them(resnet: nn.Module) -> None:
    with pytest.raises(ConfigError, match=r"Its blocks: conv1\.0, .*, layer4\.0\."):
        layers.place(resnet, "xyzzy")


def test_outputs_are_what_the_layers_give(resnet: nn.Module) -> None:
    slices = torch.rand(3, 1, 64, 64)
    with torch.no_grad(), layers.outputs(resnet, ["layer4", "layer1.0", layers.TRUNK], torch.clone) as run:
        found = run(slices)
    assert list(found) == ["layer4", "layer1.0", "trunk"]
    assert {name: tuple(values.shape) for name, values in found.items()} == {
        "layer4": (3, 512, 2, 2),
        "layer1.0": (3, 64, 16, 16),
        "trunk": (3, 512),
    }
    torch.testing.assert_close(found["layer4"].mean((2, 3)), found["trunk"])  # as this network pools
    assert torch.equal(found["trunk"], resnet(slices))
    assert not any(module._forward_hooks for module in resnet.modules())


@each_family
def test_every_block_of_every_family_gives_something_a_slice(family: Family) -> None:
    net = one_channel_trunk(family)
    names = [block.name for block in layers.blocks(net)]
    with torch.no_grad(), layers.outputs(net, names, torch.clone) as run:
        found = run(torch.rand(2, 1, family.size, family.size))
    assert all(2 <= values.ndim <= 4 and len(values) == 2 for values in found.values())


@pytest.mark.parametrize(
    ("name", "options", "layer", "channels", "side"),
    [
        ("swin_tiny_patch4_window7_224", {"img_size": 64}, "layers.1", 192, 8),
        ("torchvision/swin_t", {}, "features.3.0", 192, 8),
        ("convnext_atto", {}, "stages.1", 80, 8),
    ],
)
def test_maps_are_channels_first_whatever_the_network_uses(
    name: str, options: dict[str, int], layer: str, channels: int, side: int
) -> None:
    net = one_channel_trunk(Family(name, options, 64))
    with torch.no_grad(), layers.outputs(net, [layer], torch.clone) as run:
        assert run(torch.rand(2, 1, 64, 64))[layer].shape == (2, channels, side, side)


def test_what_is_kept_is_kept_before_the_next_layer_writes_into_it() -> None:
    net = nn.Sequential(nn.Conv2d(1, 4, 3), nn.ReLU(inplace=True), nn.Flatten(), nn.Linear(4 * 36, 2)).eval()
    slices = torch.rand(2, 1, 8, 8)
    with torch.no_grad(), layers.outputs(net, ["0"], lambda maps: maps.mean((2, 3))) as run:
        kept = run(slices)["0"]
        torch.testing.assert_close(kept, net[0](slices).mean((2, 3)))
    assert (kept < 0).any(), "the case is about something"


def test_a_layer_without_features_is_an_error() -> None:
    net = nn.Sequential(nn.Conv2d(1, 4, 3), nn.Flatten(0, 1), nn.Flatten())
    with (
        pytest.raises(ConfigError, match="from the layer 1; found not one row a slice"),
        layers.outputs(net, ["1"], torch.clone) as run,
    ):
        run(torch.rand(2, 1, 8, 8))
