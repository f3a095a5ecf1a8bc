"""Which layers bear int8 least: what each does to the answers when it alone is in int8."""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import onnx

from pipeline.engine.quantise import HEAVY, behind_stem, restored
from pipeline.inference.answers import each
from pipeline.inference.backends import OnnxRuntime
from pipeline.progress import track


@dataclass(frozen=True)
class Layer:
    """A convolution or product and what follows it up to the next one: they go back to float together.

    Attributes:
        name: of the convolution or product.
        nodes: names of all of it, in the graph's order.
    """

    name: str
    nodes: tuple[str, ...]


def layers(graph: onnx.ModelProto) -> list[Layer]:
    """The layers of the trunk but its stem, in the graph's order; what stands before the first belongs to it."""
    found: list[list[str]] = [[]]
    heavy: list[str] = []
    for node in behind_stem(graph):
        if node.op_type in HEAVY:
            heavy.append(node.name)
            if len(heavy) > 1:
                found.append([])
        found[-1].append(node.name)
    return [Layer(name, tuple(nodes)) for name, nodes in zip(heavy, found, strict=True)]


def by_error(
    quantised: onnx.ModelProto, graph: onnx.ModelProto, slices: npt.NDArray[np.uint8], parts: Sequence[Layer]
) -> list[tuple[Layer, float]]:
    """The layers, the most sensitive first, each with the root mean square of what it alone changes in logits.

    Args:
        quantised: the graph with all its layers in int8.
        graph: fp32.
        slices: uint8 (N, size, size).
        parts: the layers of `graph`.
    """
    expected = _logits(graph, slices)
    every = {name for part in parts for name in part.nodes}
    errors = []
    for part in track(parts, "export: sensitivity of layers to int8"):
        alone = restored(quantised, graph, every - set(part.nodes))
        errors.append(float(np.sqrt(np.mean((_logits(alone, slices) - expected) ** 2))))
    return sorted(zip(parts, errors, strict=True), key=lambda found: -found[1])


def _logits(graph: onnx.ModelProto, slices: npt.NDArray[np.uint8]) -> npt.NDArray[np.float32]:
    """Of each slice by itself, float32 (N, K)."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "graph.onnx"
        path.write_bytes(graph.SerializeToString())
        return OnnxRuntime(path).run(slices, each(len(slices))).logits
