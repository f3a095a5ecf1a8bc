"""The graph of a release as a PyTorch module; ONNX Runtime computes it, on the CPU and in fp32, as it was validated."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnxruntime
import torch
from torch import nn

from pipeline.inference.neighbours import weights


class ReleaseGraph(nn.Module):
    """Prepared slices of volumes to calibrated probabilities.

    Args:
        path: the ONNX file.
        most_slices: of a volume.
        each_slice: whether the model answers for slices, not for volumes.
        neighbours_sd: how far the neighbours of a slice count for its answer, in slices.
    """

    def __init__(
        self, path: str | Path, most_slices: int, *, each_slice: bool = False, neighbours_sd: float = 0.0
    ) -> None:
        super().__init__()
        options = onnxruntime.SessionOptions()
        options.log_severity_level = 3
        self.session = onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
        self.most_slices = most_slices
        self.each_slice = each_slice
        self.neighbours_sd = neighbours_sd

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        """float32 (B, N, size, size), whole numbers of 0 to 255, to float32 (B, K), or (B, K, N) of slices.

        Raises:
            ValueError: more slices than the release was made for, or an answer that is no number.
        """
        volumes, count = image.shape[:2]
        if count > self.most_slices:
            raise ValueError(f"expected at most {self.most_slices} slices in a volume; found {count}.")
        pictures = np.asarray(image.detach().cpu(), np.float32).reshape(volumes * count, 1, *image.shape[2:])
        one = weights(np.arange(count), self.neighbours_sd) if self.each_slice else np.ones((1, count), np.float32)
        belongs = np.kron(np.eye(volumes, dtype=np.float32), one)
        feed = {"slices": np.rint(pictures).clip(0, 255).astype(np.uint8), "membership": belongs}
        (found,) = self.session.run(["probabilities"], feed)
        if not np.isfinite(found).all():
            raise ValueError("expected probabilities; found a value that is no number. Leave this volume out.")
        if self.each_slice:
            found = found.reshape(volumes, count, -1).transpose(0, 2, 1)
        return torch.from_numpy(np.ascontiguousarray(found)).to(image.device)
