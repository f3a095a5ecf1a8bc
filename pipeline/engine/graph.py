"""What a box computes, as one network: from prepared slices to calibrated probabilities of the units they belong to."""

from __future__ import annotations

import torch
from torch import nn

from pipeline.calibrator import Calibration, Knots
from pipeline.inference.answers import OPTIONAL, REQUIRED
from pipeline.targets import Targets
from pipeline.transfer.layers import recorded
from pipeline.transfer.model import TransferModel

#: How near the mean of a map is to the features that it is.
_SAME = 1e-4
#: A logit or score below all others, where a slice is none of a unit; half precision holds it, too.
_NONE = -3e4


class ReleaseGraph(nn.Module):
    """The fine-tuned model with everything that stands between it and an answer.

    Inputs: `slices` uint8 (N, 1, size, size) as `pipeline.imaging.prepare` makes them, and `membership` float32 (B, N):
    how much slice n counts in unit b, 0 where it is none of it. Pooling by the mean weighs with it; the maximum and
    attention only ask whether it is 0. Every unit needs a slice.

    Outputs, all float32: `probabilities` (B, K), calibrated; `logits` (B, K), pooled; `slice_scores` (N, K), what the
    calibrator says of each slice by itself; `embedding` (B, F), the mean of the trunk's features; `saliency`
    (N, K, h, w), where the head sees the mean of a map alone: the class activation map (Zhou et al. 2016, CVPR), whose
    mean over the picture is the slice's logit without its bias.

    Args:
        model: fine-tuned.
        fixed: its calibrator.
        targets: its task.
        size: of the slices, in pixels.
    """

    def __init__(self, model: TransferModel, fixed: Calibration, targets: Targets, size: int) -> None:
        super().__init__()
        self.model = model.eval().float().cpu()
        self.calibrate = Calibrator(fixed, targets)
        self.outputs = targets.outputs
        self._map = _averaged(self.model, size)

    @property
    def names(self) -> list[str]:
        """Of the outputs, in their order."""
        return [*REQUIRED, *(OPTIONAL if self._map else ())]

    def forward(self, slices: torch.Tensor, membership: torch.Tensor) -> tuple[torch.Tensor, ...]:
        """The outputs in the order of `names`."""
        with recorded([self._map] if self._map else []) as maps:
            features = self.model.trunk(slices.float() / 255)
        rows = self.model.head(features)
        own = rows[:, : self.outputs]
        logits = pooled(rows, membership, self.model.head.pooling)
        mean = membership / membership.sum(1, keepdim=True)
        found = (self.calibrate(logits), logits, self.calibrate(own), mean @ features)
        if not maps:
            return found
        weight = self.model.head.logits.weight[: self.outputs]
        return (*found, nn.functional.conv2d(maps[0][1], weight[:, :, None, None]))


def pooled(rows: torch.Tensor, membership: torch.Tensor, pooling: str) -> torch.Tensor:
    """Rows of slices (N, K), with attention (N, K + 1), to logits of units (B, K)."""
    if pooling == "mean":
        logits: torch.Tensor = (membership @ rows) / membership.sum(1, keepdim=True)
        return logits
    there = membership > 0
    if pooling == "max":
        return torch.where(there[:, :, None], rows[None], _NONE).amax(1)
    weight = torch.softmax(torch.where(there, rows[None, :, -1], _NONE), dim=1)
    return weight @ rows[:, :-1]


class Calibrator(nn.Module):
    """`Targets.calibrated` as a network: logits (U, K) to probabilities (U, K), in fp32.

    A line through knots is the sum of its ramps, each level outside its own two knots.
    """

    temperature: torch.Tensor

    def __init__(self, fixed: Calibration, targets: Targets) -> None:
        super().__init__()
        self.softmax = targets.kind == "multiclass"
        self.register_buffer("temperature", torch.tensor(fixed.temperature, dtype=torch.float32))
        self.ramps = nn.ModuleList(_Ramps(knots) for knots in fixed.knots or [])

    def forward(self, logits: torch.Tensor) -> torch.Tensor:
        """(U, K) to (U, K)."""
        if len(self.ramps):
            columns = [ramp(logits[:, place]) for place, ramp in enumerate(self.ramps)]
            return torch.stack(columns, dim=1)
        scaled = logits / self.temperature
        return torch.softmax(scaled, dim=1) if self.softmax else torch.sigmoid(scaled)


class _Ramps(nn.Module):
    low: torch.Tensor
    width: torch.Tensor
    rise: torch.Tensor

    def __init__(self, knots: Knots) -> None:
        super().__init__()
        x, y = (torch.tensor(values, dtype=torch.float64) for values in (knots.logits, knots.probabilities))
        self.register_buffer("low", x[:-1].float())
        self.register_buffer("width", x.diff().float())
        self.register_buffer("rise", y.diff().float())
        self.first = float(y[0])

    def forward(self, logits: torch.Tensor) -> torch.Tensor:
        """(U,) to (U,)."""
        share = ((logits[:, None] - self.low) / self.width).clamp(0, 1)
        return self.first + (share * self.rise).sum(1)


@torch.inference_mode()
def _averaged(model: TransferModel, size: int) -> nn.Module | None:
    """The last layer whose map (N, F, h, w) the head sees the mean of; None where there is none.

    Tried, not read from a name: a network may do anything between its last map and its features.
    """
    slices = torch.rand(2, 1, size, size, generator=torch.Generator().manual_seed(0))
    with recorded(model.trunk.modules()) as given:
        features = model.trunk(slices)
    for module, output in reversed(given):
        if output.ndim != 4 or min(output.shape[2:]) < 2:
            continue
        mean = output.mean((2, 3))
        if mean.shape == features.shape and torch.allclose(mean, features, rtol=_SAME, atol=_SAME):
            return module
    return None
