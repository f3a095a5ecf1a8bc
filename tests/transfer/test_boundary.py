"""A trunk cut in two gives what it gave whole, and learns as it did."""

from __future__ import annotations

import pytest
import torch
from torch import nn
from torch.nn import functional

from pipeline.transfer import layers
from pipeline.transfer.boundary import split
from tests.families import Family, each_family, one_channel_trunk

RESNET = Family("resnet10t", {}, 64)


def _slices(size: int) -> torch.Tensor:
    return torch.rand(3, 1, size, size, generator=torch.Generator().manual_seed(1))


@each_family
def test_both_halves_give_the_trunks_own_bits_in_either_mode(family: Family) -> None:
    net, slices = one_channel_trunk(family), _slices(family.size)
    blocks = layers.blocks(net)
    for frozen in (0, 1, len(blocks) // 2, len(blocks) - 1, len(blocks)):
        net.train()
        for block in blocks[:frozen]:
            for module in block.modules:
                module.eval()
        halves = split(net, frozen, slices)
        assert halves is not None
        prefix, suffix = halves
        learning = {id(parameter) for block in blocks[frozen:] for parameter in block.parameters}
        assert not learning & {id(parameter) for parameter in prefix.parameters()} or frozen == len(blocks)
        assert learning <= {id(parameter) for parameter in suffix.parameters()}
        for mode in ("train", "eval"):
            if mode == "eval":
                net.eval()
            torch.manual_seed(3)
            whole = net(slices)
            torch.manual_seed(3)
            assert torch.equal(suffix(prefix(slices)), whole), (frozen, mode)


@pytest.mark.parametrize(
    ("name", "options", "frozen", "shape"),
    [
        ("resnet10t", {}, "layer3", (128, 8, 8)),
        ("torchvision/resnet18", {}, "layer3.0", (128, 8, 8)),
        ("densenet121", {}, "features.denseblock3.denselayer5", (256, 4, 4)),  # inside a dense block several go on
        ("vit_tiny_patch16_224", {"img_size": 64}, "blocks.6", (17, 192)),
    ],
)
def test_the_boundary_is_the_last_that_is_frozen(
    name: str, options: dict[str, int], frozen: str, shape: tuple[int, ...]
) -> None:
    net = one_channel_trunk(Family(name, options, 64))
    halves = split(net, layers.place(net, frozen), _slices(64))
    assert halves is not None
    assert halves[0](_slices(64)).shape == (3, *shape)


def test_everything_frozen_is_the_trunk_and_nothing() -> None:
    net = one_channel_trunk(RESNET)
    halves = split(net, len(layers.blocks(net)), _slices(64))
    assert halves is not None
    assert halves[0] is net
    assert list(halves[1].parameters()) == []


def test_modes_are_as_they_were_and_the_suffix_learns_for_the_trunk() -> None:
    net = one_channel_trunk(RESNET).train()
    net.layer1.eval()
    before = [module.training for module in net.modules()]
    halves = split(net, layers.place(net, "layer3"), _slices(64))
    assert halves is not None
    assert [module.training for module in net.modules()] == before
    prefix, suffix = halves
    counted = net.layer4[0].bn1.num_batches_tracked.clone()
    suffix(prefix(_slices(64)).detach()).sum().backward()
    assert net.layer4[0].bn1.num_batches_tracked == counted + 1
    assert net.layer4[0].conv1.weight.grad is not None
    assert net.layer2[0].conv1.weight.grad is None


class Net(nn.Module):
    """Two convolutions, and `between` on what goes from one to the other."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.second = nn.Conv2d(1, 4, 3), nn.Conv2d(4, 4, 3)

    def between(self, maps: torch.Tensor) -> torch.Tensor:
        return maps

    def forward(self, slices: torch.Tensor) -> torch.Tensor:
        return self.second(self.between(self.first(slices))).mean((2, 3))


class Dropping(Net):
    def between(self, maps: torch.Tensor) -> torch.Tensor:
        return functional.dropout(maps, 0.5, self.training)


class OnlyInTraining(Net):
    def between(self, maps: torch.Tensor) -> torch.Tensor:
        return maps * 2 if self.training else maps


class ByValue(Net):
    def between(self, maps: torch.Tensor) -> torch.Tensor:
        return maps * 2 if maps.mean() > 0 else maps


class Constant(Net):
    def between(self, maps: torch.Tensor) -> torch.Tensor:
        return maps + torch.rand(1)


class ByKind(Net):
    """A trace is blind to this one; the comparison on the example is not."""

    def between(self, maps: torch.Tensor) -> torch.Tensor:
        return maps if isinstance(maps, torch.fx.Proxy) else maps * 2


@pytest.mark.parametrize("kind", [Dropping, OnlyInTraining, ByValue, Constant, ByKind])
def test_what_a_graph_cannot_hold_is_not_cut(kind: type[Net]) -> None:
    assert split(kind(), 1, _slices(8)) is None


def test_a_networks_own_functional_dropout_is_in_the_way_only_where_it_drops() -> None:
    plain = one_channel_trunk(Family("efficientnet_b0", {}, 32))
    dropping = one_channel_trunk(Family("efficientnet_b0", {"drop_rate": 0.2}, 32))
    assert split(plain, 3, _slices(32)) is not None
    assert split(dropping, 3, _slices(32)) is None


class InPlace(Net):
    """What goes from one to the other is changed in place."""

    def between(self, maps: torch.Tensor) -> torch.Tensor:
        return functional.relu(maps, inplace=True)


class _Spoils(nn.Conv2d):
    def forward(self, maps: torch.Tensor) -> torch.Tensor:
        return super().forward(functional.relu_(maps))


class SpoilsItsInput(Net):
    """The second layer itself changes what it is given, which would be what is kept of the first."""

    def __init__(self) -> None:
        super().__init__()
        self.second = _Spoils(4, 4, 3)


def test_the_suffix_leaves_its_input_as_it_was() -> None:
    halves = split(InPlace(), 1, _slices(8))
    assert halves is not None
    kept = (given := halves[0](_slices(8))).clone()
    halves[1](given)
    assert torch.equal(given, kept)
    halves = split(SpoilsItsInput(), 1, _slices(8))
    assert halves is not None
    assert torch.equal(halves[0](_slices(8)), _slices(8))  # the cut moves below the layer whose output is spoilt


class Pairs(nn.Module):
    """Blocks that hand on two tensors."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.pair, self.join = nn.Conv2d(1, 4, 3), _Pair(), _Join()

    def forward(self, slices: torch.Tensor) -> torch.Tensor:
        return self.join(self.pair(self.first(slices)))


class _Pair(nn.Conv2d):
    def __init__(self) -> None:
        super().__init__(4, 4, 1)

    def forward(self, maps: torch.Tensor) -> list[torch.Tensor]:  # type: ignore[override]
        return [maps, super().forward(maps)]


class _Join(nn.Conv2d):
    def __init__(self) -> None:
        super().__init__(4, 4, 1)

    def forward(self, pair: list[torch.Tensor]) -> torch.Tensor:  # type: ignore[override]
        return super().forward(pair[0] + pair[1]).mean((2, 3))


def test_a_boundary_is_one_tensor() -> None:
    halves = split(net := Pairs(), 2, _slices(8))
    assert halves is not None
    assert torch.equal(halves[0](_slices(8)), net.first(_slices(8)))
