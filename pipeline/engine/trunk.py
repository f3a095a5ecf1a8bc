"""The fine-tuned trunk that a release carries: cut from the model, and proved to be that of the graph beside it."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

import numpy as np
import torch
from safetensors.numpy import load_file, save
from torch import nn

from pipeline.errors import EngineError
from pipeline.files import write_atomic
from pipeline.inference.answers import each
from pipeline.inference.backends import OnnxRuntime

FILE: Literal["trunk.safetensors"] = "trunk.safetensors"
#: Largest difference of a feature, for features beyond 1 as a share of them.
TOLERANCE = 1e-4

_PREFIX = "trunk."


def write(model: Path, out: Path) -> None:
    """Write the tensors of the trunk in `model`, a model.safetensors, under their names in the trunk.

    Raises:
        EngineError: it holds none.
    """
    tensors = {key.removeprefix(_PREFIX): value for key, value in load_file(model).items() if key.startswith(_PREFIX)}
    if not tensors:
        raise EngineError(f"tensors named {_PREFIX}* in {model}", "none", "Run `dvc repro finetune`.")
    write_atomic(out, lambda handle: handle.write(save(tensors)))


@torch.inference_mode()
def prove(trunk: nn.Module, graph: Path, size: int) -> float:
    """The largest difference of a feature between `trunk` and the embedding of `graph`, within `TOLERANCE`.

    Args:
        trunk: (N, 1, size, size) to (N, F).
        graph: the ONNX file of `contract.Graph`.
        size: of the pictures of the graph.

    Raises:
        EngineError: it is more, or ONNX Runtime cannot load the graph.
    """
    generator = torch.Generator().manual_seed(0)
    ramp = torch.linspace(0, 255, size).expand(1, 1, size, size)
    noise = 255 * torch.rand(2, 1, size, size, generator=generator)
    pictures = torch.cat([noise, ramp, 255 - ramp, torch.zeros_like(ramp)]).to(torch.uint8)
    own = trunk.eval()(pictures.float() / 255).numpy()
    released = OnnxRuntime(graph).run(pictures[:, 0].numpy(), each(len(pictures))).embedding
    if own.shape != released.shape:
        raise EngineError(f"features {own.shape} of {graph}", f"{released.shape}", "Copy the release again, whole.")
    worst = float((np.abs(own - released) / np.maximum(1, np.abs(released))).max())
    if not worst <= TOLERANCE:  # a NaN fails here too
        raise EngineError(
            f"the trunk of {graph.name}, whose features are equal within {TOLERANCE:g}",
            f"a difference of {worst:.3g} in {FILE}",
            "The two are of different models: do not use this release, and ask its maker for another.",
        )
    return worst
