"""Grad-CAM: which parts of a slice raised the logit (Selvaraju et al., 2017)."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import nn
from torch.nn import functional

from pipeline.transfer.model import TransferModel
from pipeline.transfer.predict import device, to_input


def saliency(
    model: TransferModel, slices: npt.NDArray[np.uint8], places: npt.NDArray[np.int64]
) -> npt.NDArray[np.float32]:
    """Grad-CAM at the last map of the trunk that still has width and height.

    Args:
        model: the model to explain.
        slices: uint8 (N, H, W).
        places: (N,), the class of each slice whose logit is explained: its place among the outputs.

    Returns:
        float32 (N, H, W) in 0..1, each slice scaled by its own maximum (0 where nothing raised the logit).
    """
    on = device()
    model = model.to(on).eval()
    batch = to_input(slices, on)
    maps: list[torch.Tensor] = []
    layer = _last_map(model, batch[:1])
    handle = layer.register_forward_hook(lambda _module, _inputs, output: maps.append(output))
    with torch.enable_grad():
        batch.requires_grad_(True)
        rows = model(batch)
        (gradient,) = torch.autograd.grad(rows[torch.arange(len(places)), torch.from_numpy(places)].sum(), maps[0])
    handle.remove()
    cam = (maps[0] * gradient.mean((2, 3), keepdim=True)).sum(1, keepdim=True).clamp(min=0).detach()
    large = functional.interpolate(cam, size=batch.shape[2:], mode="bilinear", align_corners=False)
    peak = large.amax((1, 2, 3), keepdim=True)
    scaled = torch.where(peak > 0, large / peak.clamp(min=1e-12), torch.zeros_like(large))
    result: npt.NDArray[np.float32] = scaled[:, 0].cpu().numpy()
    return result


@torch.no_grad()
def _last_map(model: TransferModel, example: torch.Tensor) -> nn.Module:
    """The last module whose output is a map (N, C, h, w) with h, w > 1."""
    found: list[nn.Module] = []

    def note(module: nn.Module, _inputs: Any, output: Any) -> None:
        if isinstance(output, torch.Tensor) and output.ndim == 4 and min(output.shape[2:]) > 1:
            found.append(module)

    handles = [module.register_forward_hook(note) for module in model.trunk.modules()]
    model(example)
    for handle in handles:
        handle.remove()
    return found[-1]
