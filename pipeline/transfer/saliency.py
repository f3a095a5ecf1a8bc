"""Grad-CAM: which parts of a slice raised the logit (Selvaraju et al., 2017, ICCV), of any family of networks."""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt
import torch
from torch import nn
from torch.nn import functional

from pipeline.errors import TrainingError
from pipeline.transfer.layers import blocks, recorded
from pipeline.transfer.model import TransferModel
from pipeline.transfer.predict import device, to_input

#: What the maps are, for those who show them.
METHOD = "Grad-CAM"
#: Rows that the last map of most networks has at the 224 pixels that they were made for.
FINE = 7
#: Tokens that stand for no place of the picture (class, distillation, registers) are at most so many.
_MOST_PREFIXES = 8


def saliency(
    model: TransferModel, slices: npt.NDArray[np.uint8], places: npt.NDArray[np.int64], batch: int = 64
) -> npt.NDArray[np.float32]:
    """Grad-CAM at the last layer of the trunk that has `FINE` rows or more and on which the logit depends.

    Of a small picture the last map of all has 4 rows or fewer, whose cells are larger than most lesions.
    Of a transformer that answers by its class token that is not the last block, whose other tokens nobody reads.

    Args:
        model: the model to explain.
        slices: uint8 (N, H, W).
        places: (N,), the class of each slice whose logit is explained: its place among the outputs.
        batch: slices at once.

    Returns:
        float32 (N, H, W) in 0..1, each slice scaled by its own maximum (0 where nothing raised the logit).

    Raises:
        TrainingError: no layer of the trunk has width and height.
    """
    on = device()
    model = model.to(on).eval()
    if not len(slices):
        return np.zeros(slices.shape, np.float32)
    layer = _last_map(model, to_input(slices[:1], on), int(places[0]))
    parts = [
        _cam(model, layer, to_input(slices[start : start + batch], on), places[start : start + batch])
        for start in range(0, len(slices), batch)
    ]
    return np.concatenate(parts)


def _cam(
    model: TransferModel, layer: nn.Module, batch: torch.Tensor, places: npt.NDArray[np.int64]
) -> npt.NDArray[np.float32]:
    """The maps (N, H, W) of one batch."""
    (given,), (gradient,) = _gradients(model, [layer], batch, places)
    prefix, last = _prefix(model), _channels_last(model)
    values, slopes = (_as_map(each, prefix, last) for each in (given, gradient))
    assert values is not None
    assert slopes is not None
    cam = (values * slopes.mean((2, 3), keepdim=True)).sum(1, keepdim=True).clamp(min=0).detach().float()
    large = functional.interpolate(cam, size=batch.shape[2:], mode="bilinear", align_corners=False)
    peak = large.amax((1, 2, 3), keepdim=True)
    scaled = torch.where(peak > 0, large / peak.clamp(min=1e-12), torch.zeros_like(large))
    result: npt.NDArray[np.float32] = scaled[:, 0].cpu().numpy()
    return result


def _gradients(
    model: TransferModel, layers: list[nn.Module], batch: torch.Tensor, places: npt.NDArray[np.int64]
) -> tuple[list[torch.Tensor], list[torch.Tensor]]:
    """What each layer gave, and how the logits depend on it; zeros where they do not. Layers that gave no tensor go."""
    with torch.enable_grad(), recorded(layers) as given:
        rows = model(batch.requires_grad_(True))
        outputs = [output for _, output in given if output.requires_grad]
        chosen = rows[torch.arange(len(places)), torch.from_numpy(places)].sum()
        found = torch.autograd.grad(chosen, outputs, allow_unused=True) if outputs else ()
    slopes = [torch.zeros_like(o) if g is None else g for o, g in zip(outputs, found, strict=True)]
    return outputs, slopes


def _last_map(model: TransferModel, example: torch.Tensor, place: int) -> nn.Module:
    """The last layer with a fine map on whose places the logit depends; else the last with such a map, or any."""
    layers = [module for block in blocks(model.trunk) for module in block.modules] or list(model.trunk.modules())
    prefix, last = _prefix(model), _channels_last(model)
    maps, coarse = [], []
    for layer in reversed(layers):
        given, slopes = _gradients(model, [layer], example.detach().clone(), np.array([place]))
        slope = _as_map(slopes[0], prefix, last) if len(given) == 1 else None
        if slope is not None:
            maps.append(layer)
            if bool(slope.abs().amax() > 0):
                if slope.shape[2] >= FINE:
                    return layer
                coarse.append(layer)
    if not maps:
        raise TrainingError(
            "a layer of the backbone with width and height, for Grad-CAM", "none", "Choose another backbone.name."
        )
    return (coarse or maps)[0]


def _as_map(output: torch.Tensor, prefix: int | None, channels_last: bool) -> torch.Tensor | None:
    """(N, C, h, w) of a map, of one with channels last, or of tokens without their prefix; None of all else."""
    if output.ndim == 4:
        _, first, second, third = output.shape
        square, last = second == third, first == second
        if last and (channels_last or not square):
            output, square = output.permute(0, 3, 1, 2), True
        return output if square and output.shape[2] > 1 else None
    if output.ndim != 3:
        return None
    tokens = output.shape[1]
    known = range(_MOST_PREFIXES + 1) if prefix is None else (prefix,)
    skipped = next((p for p in known if p < tokens and math.isqrt(tokens - p) ** 2 == tokens - p), None)
    if skipped is None or tokens - skipped < 4:
        return None
    side = math.isqrt(tokens - skipped)
    return output[:, skipped:].transpose(1, 2).reshape(len(output), -1, side, side)


def _prefix(model: TransferModel) -> int | None:
    """How many tokens stand for no place, where the network says so."""
    said = (getattr(module, "num_prefix_tokens", None) for module in model.trunk.modules())
    return next((int(each) for each in said if isinstance(each, int)), None)


def _channels_last(model: TransferModel) -> bool:
    """Whether the network says that channels come last, for maps of as many channels as rows."""
    return any(getattr(module, "output_fmt", None) == "NHWC" for module in model.trunk.modules())
