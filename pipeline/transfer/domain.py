"""How far the target images are from those that a network was trained on, without any of those (T11).

A BatchNorm layer remembers mean and variance of its inputs over the training images. Compared with those over the
target images they give a distance between the two distributions at that depth, as in Schneider et al. 2020 ("Improving
robustness against common corruptions by covariate shift adaptation", NeurIPS), who measure the same shift. Between
Gaussians with diagonal covariance the Fréchet distance is (m_t - m_s)^2 + (s_t - s_s)^2 per channel (Dowson & Landau
1982, J Multivar Anal 12:450; Heusel et al. 2017, NeurIPS); divided by s_s^2, the layer's own scale, it has no unit.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm

from pipeline.progress import track
from pipeline.transfer.predict import device, to_input

#: Slices that are looked at, evenly spaced: per-channel means over so many change little with more of them.
SLICES = 512

#: Why a network has no distance.
NO_BATCH_NORM = "the network keeps no statistics of the images it was trained on (no BatchNorm)"


@dataclass(frozen=True)
class Distance:
    """The domain distance of a network, 0 for images like its own.

    Attributes:
        value: median over the BatchNorm layers (one of them may be far off by itself), NaN without any.
        layers: per BatchNorm layer, by its path in the trunk, from the stem up.
        reason: why `value` is NaN; None when it is there.
    """

    value: float
    layers: dict[str, float]
    reason: str | None = None


class _Moments:
    """Mean and variance of a layer's inputs, per channel: of each batch in float32, of all together in float64."""

    def __init__(self) -> None:
        self.count, self.sums, self.squares = 0, np.zeros(()), np.zeros(())

    def __call__(self, _: nn.Module, inputs: tuple[torch.Tensor, ...]) -> None:
        """A hook before the layer's own work."""
        over = [axis for axis in range(inputs[0].ndim) if axis != 1]
        variance, mean = (
            part.double().cpu().numpy() for part in torch.var_mean(inputs[0].float(), dim=over, correction=0)
        )
        count = inputs[0].numel() // inputs[0].shape[1]
        self.count += count
        self.sums = self.sums + count * mean
        self.squares = self.squares + count * (variance + mean**2)

    def distance(self, norm: _BatchNorm) -> float:
        """From what the layer remembers, mean over its channels."""
        assert norm.running_mean is not None
        assert norm.running_var is not None
        mean = self.sums / self.count
        deviation = np.sqrt(np.maximum(self.squares / self.count - mean**2, 0))
        source_mean = norm.running_mean.double().cpu().numpy()
        source_variance = norm.running_var.double().cpu().numpy()
        frechet = (mean - source_mean) ** 2 + (deviation - np.sqrt(source_variance)) ** 2
        # With eps, as the layer itself divides: a channel that is nearly dead there does not decide here either.
        return float(np.mean(frechet / (source_variance + norm.eps)))


@torch.no_grad()
def distance(trunk: nn.Module, slices: npt.NDArray[np.uint8], rows: npt.NDArray[np.int64], batch: int) -> Distance:
    """The distance of slices from the images that the trunk was trained on.

    Args:
        trunk: one-channel network with the weights as they were trained.
        slices: (N, H, W).
        rows: those of training patients; of more than `SLICES` an even choice.
        batch: slices at once.
    """
    norms = {
        name: module
        for name, module in trunk.named_modules()
        if isinstance(module, _BatchNorm) and module.running_mean is not None
    }
    if not norms:
        return Distance(float("nan"), {}, NO_BATCH_NORM)
    on = device()
    trunk = trunk.to(on, memory_format=torch.channels_last).eval()  # type: ignore[call-overload]
    moments = {name: _Moments() for name in norms}
    handles = [module.register_forward_pre_hook(moments[name]) for name, module in norms.items()]
    chosen = np.sort(rows[np.linspace(0, len(rows) - 1, min(SLICES, len(rows))).round().astype(np.int64)])
    try:
        for start in track(range(0, len(chosen), batch), "domain distance"):
            trunk(to_input(slices[chosen[start : start + batch]], on))
    finally:
        for handle in handles:
            handle.remove()
    layers = {name: found.distance(norms[name]) for name, found in moments.items() if found.count}
    return Distance(float(np.median(list(layers.values()))), layers)
