"""What makes a network's class scores: found, counted and taken off."""

from __future__ import annotations

from typing import Any

from torch import nn


def described(network: nn.Module) -> dict[str, Any]:
    """What timm says of the network; nothing of one of torchvision."""
    stated: dict[str, Any] = dict(getattr(network, "pretrained_cfg", {}))
    return stated


def paths(network: nn.Module) -> list[str]:
    """The paths of the layers that make class scores, each a Linear or a 1x1 convolution.

    Several in networks that average the scores of several tokens or branches; none in one that ends in features. timm
    names them, in what it says of the network or by its code; in torchvision it is the last layer.
    """
    tops = _tops(network) if described(network) else [""]
    found = (_last_layer(network, top) for top in tops)
    return list(dict.fromkeys(path for path in found if path is not None))


def _tops(network: nn.Module) -> list[str]:
    """Where timm says that the scores are made, in both ways: each leaves out the second head of some networks."""
    stated = described(network).get("classifier") or ()
    given: Any = getattr(network, "get_classifier", tuple)()
    places = {id(module): path for path, module in network.named_modules()}
    modules = given if isinstance(given, tuple) else (given,)
    by_code = [places[id(module)] for module in modules if id(module) in places]
    return [*([stated] if isinstance(stated, str) else stated), *by_code]


def _last_layer(network: nn.Module, top: str) -> str | None:
    """The last Linear or convolution at or under the path `top`; None where there is none."""
    inside = dict(network.named_modules())
    layers = [
        path
        for path, module in inside.items()
        if isinstance(module, nn.Linear | nn.Conv2d) and (top in ("", path) or path.startswith(f"{top}."))
    ]
    return layers[-1] if layers else None


def take_off(network: nn.Module) -> None:
    """Replace what makes class scores by nothing: what it was given comes out. Changes `network`."""
    for path in paths(network):
        holder, _, leaf = path.rpartition(".")
        setattr(network.get_submodule(holder), leaf, nn.Identity())


def drop_auxiliary(network: nn.Module) -> None:
    """Take off the classifiers of middle layers that Inception and GoogLeNet have for their training."""
    if getattr(network, "aux_logits", False):
        vars(network)["aux_logits"] = False
        for name in {"AuxLogits", "aux1", "aux2"} & {name for name, _ in network.named_children()}:
            setattr(network, name, None)
