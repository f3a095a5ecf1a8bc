"""Whether ONNX Runtime computes what PyTorch does, on real slices."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import cycle
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch
from torch import nn

from pipeline.errors import EngineError
from pipeline.inference.backends import OnnxRuntime, scaled
from pipeline.progress import track

#: A single slice, an odd few and a series: a graph whose batch was fixed fails at one of them.
BATCHES = (1, 3, 32)

#: Slices compared at most, evenly spread; more would cost minutes and show nothing new.
MOST = 256


@dataclass(frozen=True)
class Parity:
    """How far ONNX Runtime is from PyTorch.

    Attributes:
        max_abs_logit_difference, mean_abs_logit_difference: over `slices`.
        slices: how many slices were compared.
        batches: the batch sizes that were run.
        providers: the execution providers that ran.
    """

    max_abs_logit_difference: float
    mean_abs_logit_difference: float
    slices: int
    batches: list[int]
    providers: list[str]


def compare(model: nn.Module, path: Path, slices: npt.NDArray[np.uint8], tolerance: float) -> Parity:
    """Run uint8 (N, size, size) slices, at most `MOST`, through both, in batches of each of `BATCHES` in turn.

    Raises:
        EngineError: no slices, a logit differs by more than `tolerance` times the larger of 1 and its own size (fp32
            rounding grows with the number rounded; decisions are made where logits are small) or is not finite, or
            another provider runs.
    """
    if len(slices) == 0:
        raise EngineError("validation slices to compare with", "none", "Give validation a larger share in `split`.")
    slices = slices[:: -(-len(slices) // MOST)]
    backend = OnnxRuntime(path)
    model = model.eval().float().cpu().to(memory_format=torch.channels_last)
    differences, scales, sizes = [], [], set()
    for batch in track(list(_batches(slices)), "export: ONNX Runtime against PyTorch"):
        inputs = scaled(batch)
        with torch.inference_mode():
            channels_last = torch.from_numpy(inputs).contiguous(memory_format=torch.channels_last)
            expected = model(channels_last).numpy()
        differences.append(np.abs(backend.run(inputs) - expected).ravel())
        scales.append(np.maximum(1, np.abs(expected)).ravel())
        sizes.add(len(batch))
    every = np.concatenate(differences)
    worst = float((every / np.concatenate(scales)).max())
    if not worst <= tolerance:  # a NaN fails here too
        raise EngineError(
            f"logits of ONNX Runtime within {tolerance:g} of PyTorch's on {len(slices)} validation slices",
            f"a difference of {worst:.3g} (for logits beyond 1, as a share of the logit)",
            "Try another export.opset in params.yaml; a larger export.tolerance only if the threshold bears it.",
        )
    return Parity(float(every.max()), float(every.mean()), len(slices), sorted(sizes), backend.providers)


def _batches(slices: npt.NDArray[np.uint8]) -> Iterator[npt.NDArray[np.uint8]]:
    begin = 0
    for size in cycle(BATCHES):
        if begin >= len(slices):
            return
        yield slices[begin : begin + size]
        begin += size
