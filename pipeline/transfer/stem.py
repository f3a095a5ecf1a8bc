"""Taking a network's RGB stem to one channel, exactly.

A stem that sees the grey image g replicated to RGB, normalised per channel, computes conv(W, (g - m_c) / s_c). That is
a convolution of two planes, g and a plane of ones, with the kernels  sum_c W_c / s_c  and  -sum_c W_c m_c / s_c.
Because padding adds zeros to both planes *after* normalisation, as in the original, it is exact at the borders too;
folding the second term into a bias is not.

A first layer that does more than convolve (standardises its weights as it runs, rearranges pixels) is kept as it is and
shown the three normalised planes. Either way `prove` compares the whole network with the original.
"""

from __future__ import annotations

import copy

import torch
from timm.layers import SpaceToDepth
from timm.layers.conv2d_same import Conv2dSame
from timm.models.csatv2 import LearnableDct2d
from torch import nn

from pipeline.errors import StemError

#: Largest difference of a logit, fp32, between the one-channel network and the original on replicated grey; of logits
#: beyond 1, as a share of the logit, because rounding grows with the number rounded.
TOLERANCE = 1e-4

#: What a network's own code raises at pictures that it does not take.
REFUSALS = (RuntimeError, AssertionError, ValueError, TypeError, IndexError, AttributeError, ZeroDivisionError)

#: Convolutions whose result is linear in the weights as they are stored.
_FOLDABLE = (nn.Conv2d, Conv2dSame)
#: First layers that are no convolutions and whose only input is the image.
_REARRANGING = (SpaceToDepth, LearnableDct2d)


class GreyStem(nn.Module):
    """The one-channel form of an RGB convolution: it appends a plane of ones to its input.

    Args:
        conv: the original stem, 3 input channels, in one group or three.
        mean: per-channel mean that the network was trained with.
        std: per-channel standard deviation likewise.
    """

    def __init__(self, conv: nn.Conv2d, mean: tuple[float, ...], std: tuple[float, ...]) -> None:
        super().__init__()
        means, stds = (torch.tensor(values).view(1, 3, 1, 1) for values in (mean, std))
        kernels = conv.weight.detach()
        if conv.groups == 3:  # each kernel sees one channel: zeros for the two others
            channel = torch.arange(len(kernels)) // (len(kernels) // 3)
            kernels = kernels * nn.functional.one_hot(channel, 3).view(-1, 3, 1, 1)
        scaled = kernels / stds
        planes = torch.cat([scaled.sum(1, keepdim=True), -(scaled * means).sum(1, keepdim=True)], dim=1)
        self.conv = copy.deepcopy(conv)
        self.conv.in_channels, self.conv.groups = 2, 1
        self.conv.weight = nn.Parameter(planes)

    def forward(self, grey: torch.Tensor) -> torch.Tensor:
        """`grey`: (N, 1, H, W) in 0..1."""
        features: torch.Tensor = self.conv(torch.cat([grey, torch.ones_like(grey)], dim=1))
        return features


class RgbStem(nn.Module):
    """A first layer as it was, shown the grey image as three normalised planes.

    Args:
        layer: the original, 3 input channels.
        mean: as for `GreyStem`.
        std: likewise.
    """

    mean: torch.Tensor
    std: torch.Tensor

    def __init__(self, layer: nn.Module, mean: tuple[float, ...], std: tuple[float, ...]) -> None:
        super().__init__()
        self.layer = copy.deepcopy(layer)
        self.register_buffer("mean", torch.tensor(mean).view(1, 3, 1, 1))
        self.register_buffer("std", torch.tensor(std).view(1, 3, 1, 1))

    def forward(self, grey: torch.Tensor) -> torch.Tensor:
        """`grey`: (N, 1, H, W) in 0..1."""
        features: torch.Tensor = self.layer((grey - self.mean) / self.std)
        return features


def find(network: nn.Module, name: str) -> list[str]:
    """The paths of the layers that see the RGB image: parallel ones in some networks.

    Raises:
        StemError: there is none of a known kind; such a stem would stay random.
    """
    modules = list(network.named_modules())
    found = [path for path, module in modules if isinstance(module, nn.Conv2d) and module.in_channels == 3]
    found = found or [path for path, module in modules if isinstance(module, _REARRANGING)][:1]
    if not found:
        raise StemError(
            f"a convolution with 3 input channels, or a known rearrangement of pixels, as the first layer of {name}",
            "none",
            "Its stem cannot be taken to one channel; choose another backbone.name.",
        )
    return found


def adapt(network: nn.Module, name: str, mean: tuple[float, ...], std: tuple[float, ...]) -> nn.Module:
    """A copy of `network` that takes (N, 1, H, W) in 0..1; its own normalisation is inside the stem.

    Raises:
        StemError: see `find`.
    """
    adapted = copy.deepcopy(network)
    for path in find(network, name):
        first = network.get_submodule(path)
        form = GreyStem if type(first) in _FOLDABLE else RgbStem
        holder, _, leaf = path.rpartition(".")
        setattr(adapted.get_submodule(holder), leaf, form(first, mean, std))  # type: ignore[arg-type]
    return adapted


@torch.no_grad()
def prove(
    original: nn.Module, adapted: nn.Module, name: str, mean: tuple[float, ...], std: tuple[float, ...], size: int
) -> float:
    """The largest absolute difference of a logit on grey `pictures`, in evaluation mode and the weights' precision.

    Raises:
        StemError: the network does not take pictures of this size, or the one-channel network is not the network that
            was trained.
    """
    grey = pictures(size).to(next(original.parameters()).dtype)
    means, stds = (torch.tensor(values).view(1, 3, 1, 1) for values in (mean, std))
    try:
        wanted = original.eval()((grey.expand(-1, 3, -1, -1) - means) / stds)
    except REFUSALS as error:
        raise StemError(
            f"{name} to take pictures of {size} x {size}", in_short(error), "Change prepare.size or backbone.options."
        ) from error
    try:
        found = adapted.eval()(grey)
    except REFUSALS as error:
        raise _not_the_same(name, f"a network that fails after that ({in_short(error)})") from error
    if not isinstance(wanted, torch.Tensor) or not wanted.isfinite().all():
        found_instead = (
            "numbers that are not finite" if isinstance(wanted, torch.Tensor) else f"a {type(wanted).__name__}"
        )
        raise StemError(
            f"one tensor of finite logits from {name} at {size} x {size}",
            found_instead,
            "Change prepare.size or backbone.options, or check its weights.",
        )
    difference = (wanted - found).abs()
    worst = float((difference / wanted.abs().clamp(min=1)).max())
    if not worst <= TOLERANCE:
        raise _not_the_same(name, f"a difference of {worst:g}")
    return float(difference.max())


def pictures(size: int) -> torch.Tensor:
    """Grey pictures (N, 1, size, size) in 0..1: noise, edges, black and white."""
    noise = torch.rand(4, 1, size, size, generator=torch.Generator().manual_seed(0))
    ramp = torch.linspace(0, 1, size).expand(1, 1, size, size)
    return torch.cat([noise, ramp, 1 - ramp, torch.ones_like(ramp), torch.zeros_like(ramp)])


def in_short(error: Exception) -> str:
    """What a library said, in one line."""
    return f"{type(error).__name__}: {' '.join(str(error).split())[:300]}"


def _not_the_same(name: str, found: str) -> StemError:
    return StemError(
        f"logits of {name} equal within {TOLERANCE:g} after its stem went to one channel",
        found,
        "Its stem does more than convolve, or its mean and std are not those given; choose another backbone.name.",
    )
