"""A network by name from timm or torchvision, its weights, and its one-channel trunk."""

from __future__ import annotations

import difflib
from dataclasses import dataclass
from typing import Any

import timm
import torch
import torchvision
from torch import nn

from pipeline.config import Backbone
from pipeline.errors import ConfigError, WeightsError
from pipeline.transfer import stem
from pipeline.transfer.weights import Weights, fit, from_hub, only_file, read

_TORCHVISION = "torchvision/"


@dataclass(frozen=True)
class Source:
    """What a network's library says of the data it was trained on."""

    mean: tuple[float, ...]
    std: tuple[float, ...]
    licence: str


def create(name: str, options: dict[str, Any], classes: int = 1000) -> nn.Module:
    """The network with random weights and its original head, RGB input.

    Raises:
        ConfigError: neither library knows the name, or it does not take these options.
    """
    try:
        if name.startswith(_TORCHVISION):
            network = torchvision.models.get_model(
                name.removeprefix(_TORCHVISION), weights=None, num_classes=classes, **options
            )
        else:
            network = timm.create_model(name, pretrained=False, num_classes=classes, **options)
    except (RuntimeError, ValueError, TypeError) as error:
        raise ConfigError(
            "a network of timm, or torchvision/<name>, in backbone.name", f"{name!r} ({error})", _nearest(name)
        ) from error
    assert isinstance(network, nn.Module)
    return network


def _nearest(name: str) -> str:
    """Names like `name`, as a remedy."""
    known = [*timm.list_models(), *(_TORCHVISION + model for model in torchvision.models.list_models())]
    return f"Near to it: {', '.join(difflib.get_close_matches(name, known, n=3, cutoff=0.3)) or 'none'}."


def source(name: str, network: nn.Module) -> Source:
    """Mean, standard deviation and licence that the network's library states."""
    if name.startswith(_TORCHVISION):
        return Source((0.485, 0.456, 0.406), (0.229, 0.224, 0.225), "not stated by torchvision")
    described: Any = network.pretrained_cfg
    return Source(tuple(described["mean"]), tuple(described["std"]), described.get("license") or "not stated by timm")


def classes_in(weights: Weights, network: nn.Module, name: str) -> int:
    """How many classes the weights' own head has."""
    key = f"{head_path(network)}.weight"
    if key not in weights.state:
        raise WeightsError(
            f"the head {key} of {name} in {weights.origin}", "none", "The file belongs to another architecture."
        )
    return int(weights.state[key].shape[0])


def head_path(network: nn.Module) -> str:
    """The path of the last layer that makes class scores: a Linear, or a 1x1 convolution."""
    layers = [path for path, module in network.named_modules() if isinstance(module, nn.Linear | nn.Conv2d)]
    return str(layers[-1])


def load(backbone: Backbone) -> tuple[nn.Module, Weights, Source]:
    """The RGB network with its pre-trained weights and original head.

    Raises:
        WeightsError: no weights to be had, or of another architecture.
    """
    network = create(backbone.name, backbone.options)
    stated = source(backbone.name, network)
    licence = stated.licence if backbone.weights == "hub" else "not stated: the weights came from a file"
    found = Source(backbone.mean or stated.mean, backbone.std or stated.std, licence)
    weights = _weights(backbone, network)
    network = create(backbone.name, backbone.options, classes_in(weights, network, backbone.name))
    fit(network, weights, backbone.name)
    return network.eval(), weights, found


def _weights(backbone: Backbone, network: nn.Module) -> Weights:
    """Exactly what backbone.weights asks for; nothing else takes its place."""
    if backbone.weights == "file":
        return read(only_file(backbone.file))
    if backbone.weights == "hub":
        if backbone.name.startswith(_TORCHVISION):
            raise WeightsError(
                "a timm name with backbone.weights: hub", backbone.name, "Download its file and set backbone.file."
            )
        described: Any = network.pretrained_cfg
        return from_hub(described["hf_hub_id"])
    raise WeightsError(
        "a backbone that came with this version", "none", "Set backbone.weights to file (with backbone.file) or hub."
    )


def trunk(network: nn.Module) -> nn.Module:
    """`network` without its class scores: (N, C, H, W) to pooled features (N, F). Changes `network`."""
    path = head_path(network)
    parent, _, leaf = path.rpartition(".")
    setattr(network.get_submodule(parent), leaf, nn.Identity())
    return network


def empty_trunk(name: str, options: dict[str, Any]) -> nn.Module:
    """A one-channel trunk with random weights, in the form that `stem.adapt` gives."""
    network = create(name, options)
    stated = source(name, network)
    return trunk(stem.adapt(network, name, stated.mean, stated.std))


@torch.no_grad()
def feature_count(trunk_: nn.Module, size: int) -> int:
    """F of a trunk's pooled features (N, F)."""
    was_training = trunk_.training
    count = trunk_.eval()(torch.zeros(1, 1, size, size)).shape[1]
    trunk_.train(was_training)
    return int(count)
