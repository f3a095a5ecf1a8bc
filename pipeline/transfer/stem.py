"""Taking a network's RGB stem to one channel, exactly.

A stem that sees the grey image g replicated to RGB, normalised per channel, computes conv(W, (g - m_c) / s_c). That is
a convolution of two planes, g and a plane of ones, with the kernels  sum_c W_c / s_c  and  -sum_c W_c m_c / s_c.
Because padding adds zeros to both planes *after* normalisation, as in the original, it is exact at the borders too;
folding the second term into a bias is not.
"""

from __future__ import annotations

import copy

import torch
from torch import nn

from pipeline.errors import StemError

#: Largest difference of a logit, fp32, between the one-channel network and the original on replicated grey.
TOLERANCE = 1e-4


class GreyStem(nn.Module):
    """The one-channel form of an RGB convolution: it appends a plane of ones to its input.

    Args:
        conv: the original stem, 3 input channels.
        mean: per-channel mean that the network was trained with.
        std: per-channel standard deviation likewise.
    """

    def __init__(self, conv: nn.Conv2d, mean: tuple[float, ...], std: tuple[float, ...]) -> None:
        super().__init__()
        means, stds = (torch.tensor(values).view(1, 3, 1, 1) for values in (mean, std))
        scaled = conv.weight.detach() / stds
        planes = torch.cat([scaled.sum(1, keepdim=True), -(scaled * means).sum(1, keepdim=True)], dim=1)
        self.conv = copy.deepcopy(conv)
        self.conv.in_channels = 2
        self.conv.weight = nn.Parameter(planes)

    def forward(self, grey: torch.Tensor) -> torch.Tensor:
        """`grey`: (N, 1, H, W) in 0..1."""
        features: torch.Tensor = self.conv(torch.cat([grey, torch.ones_like(grey)], dim=1))
        return features


def find(network: nn.Module, name: str) -> str:
    """The path of the one convolution that sees the RGB image.

    Raises:
        StemError: there is none, or more than one; such a stem would stay random.
    """
    found = [
        path
        for path, module in network.named_modules()
        if isinstance(module, nn.Conv2d) and module.in_channels == 3 and module.groups == 1
    ]
    if len(found) != 1:
        raise StemError(
            f"one convolution with 3 input channels in {name}",
            f"{len(found)}{': ' + ', '.join(found) if found else ''}",
            "Its stem cannot be taken to one channel without leaving a part random; choose another backbone.name.",
        )
    return str(found[0])


def adapt(network: nn.Module, name: str, mean: tuple[float, ...], std: tuple[float, ...]) -> nn.Module:
    """A copy of `network` that takes (N, 1, H, W) in 0..1; its own normalisation is inside the stem."""
    path = find(network, name)
    adapted = copy.deepcopy(network)
    parent, _, leaf = path.rpartition(".")
    holder = adapted.get_submodule(parent)
    setattr(holder, leaf, GreyStem(network.get_submodule(path), mean, std))  # type: ignore[arg-type]
    return adapted


@torch.no_grad()
def difference(
    original: nn.Module, adapted: nn.Module, mean: tuple[float, ...], std: tuple[float, ...], size: int
) -> float:
    """Largest absolute difference of a logit on grey images, noise and edges, in fp32 and evaluation mode."""
    generator = torch.Generator().manual_seed(0)
    noise = torch.rand(4, 1, size, size, generator=generator)
    ramp = torch.linspace(0, 1, size).expand(1, 1, size, size)
    grey = torch.cat([noise, ramp, 1 - ramp, torch.ones_like(ramp), torch.zeros_like(ramp)])
    means, stds = (torch.tensor(values).view(1, 3, 1, 1) for values in (mean, std))
    rgb = (grey.expand(-1, 3, -1, -1) - means) / stds
    return float((original.eval()(rgb) - adapted.eval()(grey)).abs().max())


def prove(
    original: nn.Module, adapted: nn.Module, name: str, mean: tuple[float, ...], std: tuple[float, ...], size: int
) -> float:
    """The difference, when it is within `TOLERANCE`.

    Raises:
        StemError: the one-channel network is not the network that was trained.
    """
    try:
        worst = difference(original, adapted, mean, std, size)
    except (RuntimeError, AssertionError) as error:
        raise StemError(
            f"{name} to take pictures of {size} x {size}", str(error), "Change prepare.size or backbone.options."
        ) from error
    if not worst <= TOLERANCE:
        raise StemError(
            f"logits of {name} equal within {TOLERANCE:g} after its stem went to one channel",
            f"a difference of {worst:g}",
            "Its stem does more than convolve, or its mean and std are not those given; choose another backbone.name.",
        )
    return worst
