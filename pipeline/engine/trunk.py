"""The fine-tuned trunk that a release carries: cut from the model, and proved to be that of the graph beside it."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

import numpy as np
import numpy.typing as npt
import onnx
import onnxruntime
import torch
from safetensors.numpy import load_file, save
from torch import nn

from pipeline.errors import EngineError
from pipeline.files import write_atomic
from pipeline.inference.backends import OnnxRuntime

FILE: Literal["trunk.safetensors"] = "trunk.safetensors"
#: Largest difference of a feature, for features beyond 1 as a share of them.
TOLERANCE = 1e-4

_PREFIX = "trunk."
#: Operators after the linear layer of the head that add its bias, change a shape or append the score of attention.
_AFTER = {"Add", "Concat", "Flatten", "Identity", "Reshape", "Squeeze"}


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
    """The largest difference of a feature between `trunk` and what enters the head of `graph`, within `TOLERANCE`.

    Args:
        trunk: (N, 1, size, size) to (N, F).
        graph: the ONNX file of `contract.Graph`.
        size: of the pictures of the graph.

    Raises:
        EngineError: it is more, or the graph has no linear head.
    """
    generator = torch.Generator().manual_seed(0)
    ramp = torch.linspace(0, 1, size).expand(1, 1, size, size)
    pictures = torch.cat([torch.rand(2, 1, size, size, generator=generator), ramp, 1 - ramp, torch.zeros_like(ramp)])
    own, released = trunk.eval()(pictures).numpy(), _features(graph, pictures.numpy())
    if own.shape != released.shape:
        raise EngineError(
            f"features {own.shape} before the head of {graph}", f"{released.shape}", "Copy the release again, whole."
        )
    worst = float((np.abs(own - released) / np.maximum(1, np.abs(released))).max())
    if not worst <= TOLERANCE:  # a NaN fails here too
        raise EngineError(
            f"the trunk of {graph.name}, whose features are equal within {TOLERANCE:g}",
            f"a difference of {worst:.3g} in {FILE}",
            "The two are of different models: do not use this release, and ask its maker for another.",
        )
    return worst


def _features(path: Path, pictures: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
    """What enters the head of an ONNX file, (N, F)."""
    OnnxRuntime(path)  # whose errors say what is wrong with a file
    model = onnx.load(path, load_external_data=False)
    name = _before_head(model.graph, path)
    model.graph.output.append(onnx.helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, None))
    session = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    features: npt.NDArray[np.float32] = session.run([name], {model.graph.input[0].name: pictures})[0]
    return features


def _before_head(graph: onnx.GraphProto, path: Path) -> str:
    """The tensor that the last linear layer takes."""
    made = {name: node for node in graph.node for name in node.output}
    constant = {entry.name for entry in graph.initializer}
    node = made.get(graph.output[0].name)
    while node is not None and node.op_type in _AFTER:
        node = next((made[name] for name in node.input if name in made and name not in constant), None)
    if node is None or node.op_type not in ("Gemm", "MatMul"):
        raise EngineError(
            f"a linear layer at the end of {path}",
            node.op_type if node else "none",
            "It is no release of this product.",
        )
    return str(node.input[0])
