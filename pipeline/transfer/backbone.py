"""A network by name from timm or torchvision, its weights, and its one-channel trunk."""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import timm
import torch
import torchvision
from torch import nn

from pipeline.errors import ConfigError, WeightsError
from pipeline.training_config import Backbone
from pipeline.transfer import embedded, hub, licence, stem
from pipeline.transfer.weights import Weights, fit, only_file, read

_TORCHVISION = "torchvision/"

#: The most classes of a released head: ImageNet-21k as timm has it.
_MOST_CLASSES = 21843


@dataclass(frozen=True)
class Source:
    """What is stated of weights by those they come from.

    Attributes:
        mean: per RGB channel, of the pictures they were trained on.
        std: likewise.
        licence: theirs, or that none is stated.
        trained: the embedded card's account of the training; None for all others.
    """

    mean: tuple[float, ...]
    std: tuple[float, ...]
    licence: str
    trained: Mapping[str, Any] | None = None


def create(name: str, options: dict[str, Any], classes: int = 1000) -> nn.Module:
    """The network with random weights and its original head, RGB input.

    Raises:
        ConfigError: neither library knows the name, or it does not take these options.
    """
    if ":" in name:  # timm would fetch a description from a hub, whatever backbone.weights says
        raise ConfigError("the plain name of a network in backbone.name", f"{name!r}", _nearest(name.split(":")[-1]))
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


def most_bytes(network: nn.Module) -> int:
    """The size that a file of `network`'s weights can have: all in float64, a head of many classes, and their names."""
    state = network.state_dict()
    features = state[f"{head_path(network)}.weight"][0].numel() + 1
    return int(8 * sum(value.numel() for value in state.values()) + 4 * _MOST_CLASSES * features + (1 << 20))


def load(backbone: Backbone) -> tuple[nn.Module, Weights, Source]:
    """The RGB network with its pre-trained weights and original head.

    Raises:
        ConfigError: no such network, or not the embedded one where that is asked for.
        WeightsError: no weights to be had, not those promised, of another architecture, or not allowed.
    """
    card = embedded.card() if backbone.weights == "embedded" else None
    if card is not None:
        embedded.require_chosen(card, backbone)
    network = create(backbone.name, backbone.options)
    stated = _stated(backbone, network, card)
    licence.require_allowed(stated.licence, allow_non_commercial=backbone.allow_non_commercial)
    path, origin, promised = _located(backbone, network, card)
    if backbone.sha256 is not None:
        promised["backbone.sha256"] = backbone.sha256
    weights = read(path, origin, promised, most_bytes(network))
    network = create(backbone.name, backbone.options, classes_in(weights, network, backbone.name))
    fit(network, weights, backbone.name)
    return network.eval(), weights, stated


def _stated(backbone: Backbone, network: nn.Module, card: embedded.Card | None) -> Source:
    """What those say that the weights come from; params.yaml may know mean and std better."""
    if backbone.licence is not None and backbone.weights != "file":
        raise ConfigError(
            f"backbone.licence: null with weights: {backbone.weights}, which states its own",
            repr(backbone.licence),
            "Take it out; it is for weights: file.",
        )
    library = source(backbone.name, network)
    if card is not None:
        found = Source(card.mean, card.std, card.licence, card.trained())
    elif backbone.weights == "hub":
        found = library
    else:  # a library's licence is that of its own release
        found = Source(library.mean, library.std, backbone.licence or "not stated: the weights came from a file")
    return replace(found, mean=backbone.mean or found.mean, std=backbone.std or found.std)


def _located(backbone: Backbone, network: nn.Module, card: embedded.Card | None) -> tuple[Path, str, dict[str, str]]:
    """The file that backbone.weights asks for, its origin and its promised SHA-256; nothing else takes its place."""
    if card is not None:
        return embedded.tensors(), f"embedded: {card.data}", {"its card": card.sha256}
    if backbone.weights == "file":
        path = only_file(backbone.file)
        return path, path.name, {}
    described: Any = {} if backbone.name.startswith(_TORCHVISION) else network.pretrained_cfg
    repository = described.get("hf_hub_id")
    if not repository:
        raise WeightsError(
            "a network whose library keeps its weights on the hub",
            f"none for {backbone.name}",
            "Choose another backbone.name, or download its file and set backbone.weights: file and backbone.file.",
        )
    fetched = hub.fetch(repository, most_bytes(network))
    promised = {} if fetched.sha256 is None else {"the hub": fetched.sha256}
    return fetched.path, f"hub:{repository}/{fetched.name}", promised


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
def feature_count(trunk_: nn.Module, size: int, channels: int = 1) -> int:
    """F of a trunk's pooled features (N, F) for (N, channels, size, size)."""
    was_training = trunk_.training
    count = trunk_.eval()(torch.zeros(1, channels, size, size)).shape[1]
    trunk_.train(was_training)
    return int(count)
