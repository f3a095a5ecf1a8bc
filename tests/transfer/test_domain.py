"""The domain distance, by a network that was really trained and by one whose statistics are known."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from skimage import color, data, transform
from torch import nn

from pipeline.files import read_json
from pipeline.training_config import Backbone
from pipeline.transfer import backbone, stem
from pipeline.transfer.domain import NO_BATCH_NORM, distance

SIZE = 96


@pytest.fixture(scope="module")
def trained(root: Path) -> nn.Module:
    """The shipped backbone, trained on photographs."""
    folder = root / "models/embedded"
    card = read_json(folder / "card.json")
    settings = {key: card[key] for key in ("name", "options", "mean", "std")}
    network, _, stated = backbone.load(Backbone(weights="file", file=folder / "backbone.safetensors", **settings))
    return backbone.trunk(stem.adapt(network, card["name"], stated.mean, stated.std)).eval()


@pytest.fixture(scope="module")
def photographs() -> np.ndarray:
    """Crops of photographs in grey."""
    crops = []
    for picture in (data.astronaut(), data.coffee(), data.chelsea(), data.rocket()):
        grey = transform.rescale(color.rgb2gray(picture), 0.5, anti_aliasing=True)
        for top in range(0, grey.shape[0] - SIZE, 48):
            crops += [grey[top : top + SIZE, left : left + SIZE] for left in range(0, grey.shape[1] - SIZE, 48)]
    return (np.clip(np.stack(crops), 0, 1) * 255).astype(np.uint8)


def of(trunk: nn.Module, slices: np.ndarray) -> float:
    return distance(trunk, slices, np.arange(len(slices)), 32).value


def test_it_rises_as_images_leave_those_of_the_training(trained: nn.Module, photographs: np.ndarray) -> None:
    rng = np.random.default_rng(0)
    inverted = of(trained, 255 - photographs)
    shuffled = rng.permuted(photographs.reshape(len(photographs), -1), axis=1).reshape(photographs.shape)
    near, noise = of(trained, photographs), of(trained, shuffled)
    assert near < 0.3
    assert near < inverted < noise
    assert noise > 3 * near


def network() -> nn.Module:
    return nn.Sequential(
        nn.Conv2d(1, 6, 3), nn.BatchNorm2d(6), nn.ReLU(), nn.Conv2d(6, 4, 3), nn.BatchNorm2d(4), nn.ReLU(), nn.Flatten()
    )


@pytest.fixture
def known() -> tuple[nn.Module, np.ndarray]:
    """A network whose statistics are those of the slices beside it."""
    torch.manual_seed(1)
    trunk = network()
    slices = np.random.default_rng(1).integers(0, 256, (48, 16, 16)).astype(np.uint8)
    for module in trunk.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.momentum = None  # the plain mean of all that is seen
    trunk.train()
    with torch.no_grad():
        trunk(torch.from_numpy(slices[:, None] / 255).float())
    return trunk.eval(), slices


def test_it_is_nothing_for_the_images_that_the_statistics_are_of(known: tuple[nn.Module, np.ndarray]) -> None:
    trunk, slices = known
    found = distance(trunk, slices, np.arange(len(slices)), 7)
    assert list(found.layers) == ["1", "4"]
    assert found.value == pytest.approx(0, abs=1e-4)
    assert found.reason is None


def test_it_is_the_frechet_distance_in_units_of_the_sources_variance(known: tuple[nn.Module, np.ndarray]) -> None:
    trunk, slices = known
    darker = (slices // 3).astype(np.uint8)
    with torch.no_grad():
        values = trunk[0](torch.from_numpy(darker[:, None] / np.float32(255))).transpose(0, 1).flatten(1).numpy()
    mean, variance = trunk[1].running_mean.numpy(), trunk[1].running_var.numpy()
    expected = ((values.mean(1) - mean) ** 2 + (values.std(1) - np.sqrt(variance)) ** 2) / (variance + 1e-5)
    found = distance(trunk, darker, np.arange(len(darker)), 7)
    assert found.layers["1"] == pytest.approx(expected.mean(), rel=1e-3)


def test_only_the_rows_that_are_named_count(known: tuple[nn.Module, np.ndarray]) -> None:
    trunk, slices = known
    mixed = np.concatenate([np.zeros_like(slices), slices])
    assert distance(trunk, mixed, np.arange(len(slices), len(mixed)), 16).value == pytest.approx(0, abs=1e-4)
    assert distance(trunk, mixed, np.arange(len(mixed)), 16).value > 0.1


def test_the_network_is_as_it_was(known: tuple[nn.Module, np.ndarray]) -> None:
    trunk, slices = known
    before = {key: value.clone() for key, value in trunk.state_dict().items()}
    distance(trunk, slices // 2, np.arange(len(slices)), 16)
    assert all(torch.equal(before[key], value) for key, value in trunk.state_dict().items())
    assert not any(module._forward_pre_hooks for module in trunk.modules())


def test_without_batchnorm_there_is_none_and_it_is_said_why() -> None:
    found = distance(nn.Sequential(nn.Conv2d(1, 2, 3)), np.zeros((2, 8, 8), np.uint8), np.arange(2), 2)
    assert np.isnan(found.value)
    assert found.layers == {}
    assert found.reason == NO_BATCH_NORM
