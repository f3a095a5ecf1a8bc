"""Running a trunk or model over prepared slices."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import torch
from torch import nn

from pipeline.progress import track
from pipeline.transfer.model import TransferModel


def device() -> torch.device:
    """The GPU when there is one."""
    return torch.device("cuda" if torch.cuda.is_available() else "cpu")


def to_input(slices: npt.NDArray[np.uint8], on: torch.device) -> torch.Tensor:
    """uint8 (N, H, W) to float32 (N, 1, H, W) in 0..1, channels-last."""
    batch = torch.from_numpy(np.array(slices)).to(on).unsqueeze(1)
    return (batch.float() / 255).contiguous(memory_format=torch.channels_last)


@torch.no_grad()
def run(network: nn.Module, slices: npt.NDArray[np.uint8], batch: int, title: str) -> npt.NDArray[np.float32]:
    """Any network over uint8 (N, H, W) slices in fp32 and evaluation mode; returns (N, outputs)."""
    on = device()
    network = network.to(on, memory_format=torch.channels_last).eval()  # type: ignore[call-overload]
    parts = [
        network(to_input(slices[start : start + batch], on)).float().cpu().numpy()
        for start in track(range(0, len(slices), batch), title)
    ]
    return np.concatenate(parts)


def rows(model: TransferModel, slices: npt.NDArray[np.uint8], batch: int = 64) -> npt.NDArray[np.float32]:
    """A model's rows for uint8 (N, H, W) slices, fp32: (N, K), or (N, K + 1) with attention."""
    return run(model, slices, batch, "predict")
