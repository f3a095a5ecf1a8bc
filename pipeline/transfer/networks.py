"""A network by its name in timm or torchvision."""

from __future__ import annotations

import difflib
from types import MethodType
from typing import Any

import timm
import torchvision
from torch import nn

from pipeline.errors import ConfigError

TORCHVISION = "torchvision/"
#: Those of torchvision that were trained with mean 0.5 and deviation 0.5; their own weights' option `transform_input`
#: makes these of the ones that all others have.
HALVES = ("torchvision/inception_v3", "torchvision/googlenet")

_CLASSIFIERS = frozenset(torchvision.models.list_models(module=torchvision.models))
#: What the libraries raise at options that they do not take.
_REFUSALS = (RuntimeError, ValueError, TypeError, AssertionError, KeyError, AttributeError, IndexError, ImportError)


def create(name: str, options: dict[str, Any], classes: int = 1000) -> nn.Module:
    """The network with random weights and its original head, RGB input; without a head for 0 `classes`.

    Raises:
        ConfigError: neither library knows the name, or it does not take these options.
    """
    model = name.removeprefix(TORCHVISION)
    known = model in _CLASSIFIERS if name.startswith(TORCHVISION) else timm.is_model(model)
    if ":" in name:  # timm would fetch a description from a hub, whatever backbone.weights says
        raise ConfigError("the plain name of a network in backbone.name", repr(name), _nearest(name))
    if not known:
        raise ConfigError("a network of timm, or torchvision/<name>, in backbone.name", repr(name), _nearest(name))
    try:
        if model is name:
            network = timm.create_model(name, pretrained=False, num_classes=classes, **options)
        else:
            # Said, because torchvision warns that it will change what it draws by default.
            drawn = {"init_weights": True} if name in HALVES else {}
            network = torchvision.models.get_model(model, **{**drawn, **options}, weights=None, num_classes=classes)
    except _REFUSALS as error:
        raise ConfigError(
            f"options that {name} takes in backbone.options",
            f"{options} ({type(error).__name__}: {error})",
            "Change them; those that say the side of pictures come from prepare.size.",
        ) from error
    assert isinstance(network, nn.Module)
    made: nn.Module = network
    if isinstance(made, torchvision.models.MNASNet):  # it wants a version, which files of mere tensors do not have
        vars(made)["_load_from_state_dict"] = MethodType(nn.Module._load_from_state_dict, made)
    return made


def _nearest(name: str) -> str:
    """Names like it, as a remedy."""
    plain = name.split(":")[-1].rpartition("/")[2]
    known = [*timm.list_models(), *(TORCHVISION + classifier for classifier in _CLASSIFIERS)]
    near = sorted(
        known, key=lambda other: -difflib.SequenceMatcher(None, plain, other.removeprefix(TORCHVISION)).ratio()
    )
    return f"Near to it: {', '.join(near[:3])}."
