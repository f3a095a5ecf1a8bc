"""Whether ONNX Runtime computes what PyTorch does, on real slices."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import cycle
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch

from pipeline.engine.graph import ReleaseGraph
from pipeline.errors import EngineError
from pipeline.inference.answers import membership
from pipeline.inference.backends import OnnxRuntime
from pipeline.progress import track

#: Slices, and the units that they make: one alone, an odd few, each slice by itself, and a series. A graph in which one
#: of the numbers was fixed fails at some of them.
BATCHES = ((1, 1), (3, 2), (5, 5), (32, 1))

#: Slices compared at most, evenly spread; more would cost minutes and show nothing new.
MOST = 256


@dataclass(frozen=True)
class Parity:
    """How far ONNX Runtime is from PyTorch.

    Attributes:
        max_abs_logit_difference, mean_abs_logit_difference: of units, over all batches.
        largest: of each output the largest difference, of values beyond 1 as a share of them (see `_scale`).
        slices: how many slices were compared.
        batches: the numbers of slices, and of units, that were run at once.
        backend: what ran.
    """

    max_abs_logit_difference: float
    mean_abs_logit_difference: float
    largest: dict[str, float]
    slices: int
    batches: list[tuple[int, int]]
    backend: str


def compare(network: ReleaseGraph, path: Path, slices: npt.NDArray[np.uint8], tolerance: float) -> Parity:
    """Run uint8 (N, size, size) slices, at most `MOST`, through both, in batches of each of `BATCHES` in turn.

    Raises:
        EngineError: no slices, or a value differs by more than `tolerance` times the larger of 1 and its own size (fp32
            rounding grows with the number rounded; decisions are made where logits are small) or is not finite.
    """
    if len(slices) == 0:
        raise EngineError("validation slices to compare with", "none", "Give validation a larger share in `split`.")
    slices = slices[:: -(-len(slices) // MOST)]
    backend = OnnxRuntime(path)
    network = network.eval()
    network.model.to(memory_format=torch.channels_last)
    largest = dict.fromkeys(network.names, 0.0)
    logits, sizes = [], set()
    for batch, belongs in track(list(_batches(slices)), "export: ONNX Runtime against PyTorch"):
        with torch.inference_mode():
            expected = network(torch.from_numpy(batch[:, None]), torch.from_numpy(belongs))
        found = vars(backend.run(batch, belongs))
        for name, value in zip(network.names, expected, strict=True):
            off = np.abs(found[name] - value.numpy())
            largest[name] = float(np.maximum(largest[name], (off / _scale(name, value.numpy())).max()))
            if name == "logits":
                logits.append(off.ravel())
        sizes.add((len(batch), len(belongs)))
    worst = max(largest, key=lambda name: np.nan_to_num(largest[name], nan=np.inf))
    if not largest[worst] <= tolerance:  # a NaN fails here too
        raise EngineError(
            f"{worst} of ONNX Runtime within {tolerance:g} of PyTorch's on {len(slices)} validation slices",
            f"a difference of {largest[worst]:.3g} (of values beyond 1, as a share of them)",
            "Try another export.opset in params.yaml; a larger export.tolerance only if the threshold bears it.",
        )
    every = np.concatenate(logits)
    return Parity(float(every.max()), float(every.mean()), largest, len(slices), sorted(sizes), backend.name)


def _scale(name: str, values: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
    """What a difference is measured by: 1, or the value where it is larger; of vectors and maps their largest value,
    as they are compared whole, and a sum of large terms that comes to little is rounded like the terms."""
    sizes = np.abs(values)
    if name in ("embedding", "saliency"):
        sizes = sizes.max(axis=tuple(range(1, values.ndim)), keepdims=True)
    return np.maximum(np.float32(1), sizes)


def _batches(slices: npt.NDArray[np.uint8]) -> Iterator[tuple[npt.NDArray[np.uint8], npt.NDArray[np.float32]]]:
    """Batches and their membership: every so many slices apart belong to one unit."""
    begin = 0
    for size, units in cycle(BATCHES):
        if begin >= len(slices):
            return
        batch = slices[begin : begin + size]
        yield batch, membership([str(place % units) for place in range(len(batch))])[1]
        begin += size
