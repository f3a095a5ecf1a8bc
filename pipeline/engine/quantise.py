"""The int8 graph of a release: Q/DQ around the layers of its trunk, symmetric, so that every runtime takes it.

Asymmetric activations are refused by OpenVINO, and int32 biases by TensorRT; so there are none. Head, pooling and
calibrator stay in float: they cost nothing, and they decide.
"""

from __future__ import annotations

import tempfile
from collections.abc import Collection, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx
from onnxruntime.quantization import CalibrationDataReader, QuantFormat, QuantType, quantize_static
from onnxruntime.quantization.shape_inference import quant_pre_process

from pipeline.engine.export import strip_provenance
from pipeline.errors import EngineError
from pipeline.inference.answers import INPUTS, each

#: Operators that are worth quantising, and those between them that then pass int8 on.
HEAVY = ("Conv", "Gemm", "MatMul")
_BETWEEN = ("Add", "AveragePool", "Clip", "Concat", "GlobalAveragePool", "MaxPool", "Relu")
#: Slices in one call of the calibration.
_BATCH = 16


def quantise(graph: onnx.ModelProto, slices: npt.NDArray[np.uint8]) -> onnx.ModelProto:
    """The same graph with its trunk in int8; ranges of activations are the extremes on `slices`.

    Args:
        graph: of `contract.Graph`, fp32.
        slices: uint8 (N, size, size), of the training side.

    Raises:
        EngineError: no slices, nothing behind the stem, or ONNX Runtime cannot quantise the graph.
    """
    if not len(slices):
        raise EngineError("training slices to calibrate int8 with", "none", "Run `dvc repro prepare`.")
    quantised = [node.name for node in behind_stem(graph) if node.op_type in (*HEAVY, *_BETWEEN)]
    if not quantised:
        raise EngineError("layers behind the stem to put into int8", "none", "Choose a network of more than one layer.")
    with tempfile.TemporaryDirectory() as folder:
        known, out = Path(folder) / "known.onnx", Path(folder) / "int8.onnx"
        quant_pre_process(graph, str(known), skip_optimization=True, skip_symbolic_shape=True)
        quantize_static(
            str(known),
            str(out),
            _Slices(slices),
            quant_format=QuantFormat.QDQ,
            activation_type=QuantType.QInt8,
            weight_type=QuantType.QInt8,
            per_channel=True,
            nodes_to_quantize=quantised,
            extra_options={"ActivationSymmetric": True, "WeightSymmetric": True, "QuantizeBias": False},
        )
        made = onnx.load(out)
    strip_provenance(made)
    del made.metadata_props[:]
    return made


def restored(quantised: onnx.ModelProto, graph: onnx.ModelProto, names: Collection[str]) -> onnx.ModelProto:
    """`quantised` with these of its nodes in float again, as `graph` has them."""
    made = onnx.ModelProto()
    made.CopyFrom(quantised)
    inputs = {node.name: list(node.input) for node in graph.graph.node}
    for node in made.graph.node:
        if node.name in names:
            node.input[:] = inputs[node.name]
    there = {value.name for value in made.graph.initializer}
    needed = {name for node in made.graph.node for name in node.input}
    made.graph.initializer.extend(
        value for value in graph.graph.initializer if value.name in needed and value.name not in there
    )
    _prune(made.graph)
    return made


def trunk(graph: onnx.ModelProto) -> list[onnx.NodeProto]:
    """The nodes between the slices and the features of the embedding, in their order."""
    made = {name: node for node in graph.graph.node for name in node.output}
    # The embedding is a product of the membership and the features.
    waiting, found = [made["embedding"].input[1]], set()
    while waiting:
        node = made.get(waiting.pop())
        if node is not None and node.name not in found:
            found.add(node.name)
            waiting.extend(node.input)
    return [node for node in graph.graph.node if node.name in found]


def behind_stem(graph: onnx.ModelProto) -> list[onnx.NodeProto]:
    """The nodes of the trunk that follow a heavy one; those that the picture comes to first stay in float.

    Their input is a picture and a plane of ones: OpenVINO 2026.4 gets their int8 product wrong where the processor has
    no AMX, and says nothing.
    """
    found: list[onnx.NodeProto] = []
    reached: set[str] = set()
    for node in trunk(graph):
        follows = not reached.isdisjoint(node.input)
        if follows:
            found.append(node)
        if follows or node.op_type in HEAVY:
            reached.update(node.output)
    return found


def _prune(graph: onnx.GraphProto) -> None:
    """Take out what nothing reads."""
    while True:
        read = {name for node in graph.node for name in node.input} | {value.name for value in graph.output}
        kept = [node for node in graph.node if read.intersection(node.output)]
        if len(kept) == len(graph.node):
            break
        del graph.node[:]
        graph.node.extend(kept)
    constants = [value for value in graph.initializer if value.name in read]
    del graph.initializer[:]
    graph.initializer.extend(constants)


class _Slices(CalibrationDataReader):
    """Slices in batches, as ONNX Runtime asks for them."""

    def __init__(self, slices: npt.NDArray[np.uint8]) -> None:
        self._batches = self._fed(slices)

    def _fed(self, slices: npt.NDArray[np.uint8]) -> Iterator[dict[str, npt.NDArray[Any]]]:
        for begin in range(0, len(slices), _BATCH):
            part = slices[begin : begin + _BATCH, None]
            yield dict(zip(INPUTS, (part, each(len(part))), strict=True))

    def get_next(self) -> dict[str, npt.NDArray[Any]] | None:
        """See `CalibrationDataReader`."""
        return next(self._batches, None)
