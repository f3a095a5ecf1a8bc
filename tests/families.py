"""The families of networks that must serve as backbones, each as small as its own architecture allows."""

from __future__ import annotations

from typing import Any, NamedTuple

import pytest
import torch
from torch import nn

from pipeline.transfer import stem
from pipeline.transfer.backbone import source, trunk
from pipeline.transfer.networks import create
from tests.benchmarks.architectures import settle


class Family(NamedTuple):
    """A network's name, its options, and the side in pixels that the tests show it."""

    name: str
    options: dict[str, Any]
    size: int


#: The nine families of the promise, quick to build and run.
NINE = (
    Family("resnet10t", {}, 64),
    Family("vgg11", {"mlp_ratio": 0.125}, 32),
    Family("efficientnet_b0", {"drop_path_rate": 0.2}, 64),
    Family("inception_v3", {}, 75),
    Family("legacy_xception", {}, 71),
    Family("torchvision/alexnet", {}, 64),
    Family("densenet121", {}, 32),
    Family("convnext_atto", {"drop_path_rate": 0.2}, 64),
    Family("vit_tiny_patch16_224", {"img_size": 64, "drop_path_rate": 0.2, "proj_drop_rate": 0.1}, 64),
)

each_family = pytest.mark.parametrize("family", NINE, ids=lambda family: family.name)


def network(family: Family, classes: int = 10) -> nn.Module:
    """The RGB network with random weights whose activations neither vanish nor explode, as those of a trained one."""
    torch.manual_seed(11)
    made = create(family.name, family.options, classes)
    settle(made, family.size)
    return made


def one_channel_trunk(family: Family) -> nn.Module:
    """The same network as a one-channel trunk."""
    stated = source(family.name, made := network(family))
    return trunk(stem.adapt(made, family.name, stated.mean, stated.std))
