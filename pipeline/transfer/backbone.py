"""A network by name from timm or torchvision, its weights, and its one-channel trunk."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from torch import nn

from pipeline.errors import ConfigError, StemError, WeightsError
from pipeline.training_config import Backbone
from pipeline.transfer import embedded, heads, hub, licence, resolution, stem
from pipeline.transfer.networks import HALVES, TORCHVISION, create
from pipeline.transfer.weights import Weights, fit, only_file, read

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


def source(name: str, network: nn.Module) -> Source:
    """Mean, standard deviation and licence that the network's library states."""
    if name in HALVES:
        return Source((0.5, 0.5, 0.5), (0.5, 0.5, 0.5), "not stated by torchvision")
    if name.startswith(TORCHVISION):
        return Source((0.485, 0.456, 0.406), (0.229, 0.224, 0.225), "not stated by torchvision")
    stated = heads.described(network)
    return Source(tuple(stated["mean"]), tuple(stated["std"]), stated.get("license") or "not stated by timm")


def classes_in(weights: Weights, network: nn.Module, name: str) -> int:
    """How many classes the weights' own head has; 0 where they were published without one."""
    found = heads.paths(network)
    if not found:
        return 0
    key = f"{found[0]}.weight"
    if key in weights.state:
        return int(weights.state[key].shape[0])
    if heads.described(network).get("num_classes") == 0:
        return 0
    raise WeightsError(
        f"the head {key} of {name} in {weights.origin}", "none", "The file belongs to another architecture."
    )


def head_path(network: nn.Module) -> str:
    """The path of the layer that makes class scores, the first of several.

    Raises:
        StemError: there is none.
    """
    found = heads.paths(network)
    if not found:
        raise StemError(f"a layer of class scores in {type(network).__name__}", "none", "Choose another backbone.name.")
    return found[0]


def most_bytes(network: nn.Module) -> int:
    """The size that a file of `network`'s weights can have: all in float64, a head of many classes, and their names."""
    state = network.state_dict()
    features = sum(state[f"{path}.weight"][0].numel() + 1 for path in heads.paths(network))
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
    changed = resolution.resampled(network, weights.state)
    weights = replace(weights, state=weights.state | changed, resampled=tuple(sorted(changed)))
    fit(network, weights, backbone.name)
    heads.drop_auxiliary(network)
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
    repository = heads.described(network).get("hf_hub_id")
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
    heads.drop_auxiliary(network)
    heads.take_off(network)
    return network


def empty_trunk(name: str, options: dict[str, Any]) -> nn.Module:
    """A one-channel trunk with random weights, in the form that `stem.adapt` gives."""
    network = create(name, options)
    stated = source(name, network)
    return trunk(stem.adapt(network, name, stated.mean, stated.std))


@torch.no_grad()
def feature_count(trunk_: nn.Module, size: int, channels: int = 1) -> int:
    """F of a trunk's pooled features (N, F) for (N, channels, size, size).

    Raises:
        StemError: it gives something else.
    """
    modes = {module: module.training for module in trunk_.modules()}
    try:
        features = trunk_.eval()(torch.zeros(2, channels, size, size))
    except stem.REFUSALS as error:
        raise _no_features(type(trunk_).__name__, stem.in_short(error)) from error
    finally:
        for module, mode in modes.items():
            module.training = mode
    return _width(features, type(trunk_).__name__)


def _width(features: object, name: str) -> int:
    if not isinstance(features, torch.Tensor):
        raise _no_features(name, f"a {type(features).__name__}")
    if features.ndim != 2 or len(features) != 2:
        raise _no_features(name, f"{tuple(features.shape)}")
    return features.shape[1]


def _no_features(name: str, found: str) -> StemError:
    return StemError(
        f"one row of features a picture, (2, F), from {name} without its class scores",
        found,
        "Choose another backbone.name, or other backbone.options.",
    )


@torch.no_grad()
def require_trainable(trunk_: nn.Module, name: str, size: int) -> None:
    """See that a trunk gives the same kind of features while it learns.

    Raises:
        StemError: some networks do something else in training, such as labelling patches.
    """
    expected = feature_count(trunk_, size)
    kept = {key: value.clone() for key, value in trunk_.state_dict().items()}
    with torch.random.fork_rng():
        try:
            features = trunk_.train()(torch.rand(2, 1, size, size))
        except stem.REFUSALS as error:
            raise _no_features(f"{name} in training", stem.in_short(error)) from error
    trunk_.load_state_dict(kept)
    trunk_.eval()
    if (found := _width(features, f"{name} in training")) != expected:
        raise _no_features(f"{name} in training", f"{found} where it gives {expected} otherwise")
