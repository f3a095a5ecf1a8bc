"""Networks made for one side of picture: told the side that is wanted, their position embeddings resampled to it."""

from __future__ import annotations

import sys
import warnings
from collections.abc import Callable
from typing import Any

import torch
from timm.models import get_pretrained_cfg
from torch import nn
from torchvision.models import VisionTransformer
from torchvision.models.vision_transformer import interpolate_embeddings

from pipeline.training_config import Backbone

#: The side that torchvision's transformers are made for unless told otherwise.
_USUAL = 224
#: What the constructors call the side.
_SIDES = ("img_size", "image_size", "input_size")
#: What the names of tensors that depend on the side have in common: pos_embed, relative_position_bias_table, ...
_POSITIONS = ("pos", "relative")
#: What the libraries raise at a state dict that they cannot resample.
_UNSUITABLE = (RuntimeError, ValueError, KeyError, AttributeError, AssertionError, IndexError, TypeError)


def sized(backbone: Backbone, size: int) -> Backbone:
    """The same choice, with the option that says the side of pictures where its network is made for one.

    Unchanged where it takes any side, was made for this one, says its side itself, or is the embedded one.
    """
    option = _option(backbone.name, size)
    if backbone.weights == "embedded" or option.keys() & backbone.options.keys():
        return backbone
    return backbone.model_copy(update={"options": {**backbone.options, **option}})


def exchanged(name: str, options: dict[str, Any], size: int) -> dict[str, Any]:
    """`options` with the side `size` in place of the one that they say, or that the network is made for by itself."""
    said = {key: [size, size] if isinstance(options[key], list) else size for key in _SIDES if key in options}
    return {**options, **(said or _option(name, size))}


def _option(name: str, size: int) -> dict[str, Any]:
    """What the constructor must be told about the side."""
    library, _, model = name.rpartition("/")
    if library == "torchvision":
        if size == _USUAL:
            return {}
        if model.startswith("vit_"):
            return {"image_size": size}
        return {"input_size": [size, size]} if model.startswith("maxvit") else {}
    try:
        stated = get_pretrained_cfg(name)
    except RuntimeError:  # no such tag, which `backbone.create` says better
        return {}
    if stated is None or not stated.fixed_input_size or stated.input_size[-1] == size:
        return {}
    return {"img_size": size}


def resampled(network: nn.Module, state: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """Those position tensors of `state` that `network` has in another shape, in its shape, as its library does it."""
    own = network.state_dict()
    other = [
        key
        for key, value in state.items()
        if key in own and own[key].shape != value.shape and any(word in key for word in _POSITIONS)
    ]
    if not other:
        return {}
    try:
        with warnings.catch_warnings():  # of the libraries' own making
            warnings.simplefilter("ignore", UserWarning)
            made = _converted(network, state.copy())
    except _UNSUITABLE:  # of another architecture, which `weights.fit` says
        return {}
    return {key: made[key] for key in other if key in made and made[key].shape == own[key].shape}


def _converted(network: nn.Module, state: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """`state` as the network's library reads it."""
    if isinstance(network, VisionTransformer):
        made: dict[str, torch.Tensor] = interpolate_embeddings(network.image_size, network.patch_size, state)
        return made
    library = sys.modules[type(network).__module__]
    convert: Callable[..., dict[str, torch.Tensor]] | None = getattr(library, "checkpoint_filter_fn", None)
    return {} if convert is None else convert(state, network)
