"""PyTorch to ONNX: one file, numbers of slices and units free, equal inputs give equal bytes."""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import onnx
import torch

from pipeline.engine.graph import ReleaseGraph
from pipeline.errors import EngineError
from pipeline.files import write_atomic
from pipeline.inference.answers import INPUTS

#: The free dimensions: slices, and the units that they belong to.
SLICES, UNITS = "N", "B"


def export(network: ReleaseGraph, size: int, opset: int, path: Path) -> None:
    """Write the network as ONNX, in evaluation mode and fp32, with N and B free; weights stand in the file itself.

    Raises:
        EngineError: the exporter cannot express it in this opset, or with free dimensions.
    """
    network = network.eval()
    example = torch.zeros(3, 1, size, size, dtype=torch.uint8), torch.tensor([[1.0, 1.0, 0.0], [0.0, 0.0, 1.0]])
    slices, units = torch.export.Dim(SLICES), torch.export.Dim(UNITS)
    try:
        with warnings.catch_warnings():
            # It says that one name stands for one dimension, which is what is asked for.
            warnings.filterwarnings("ignore", "# The axis name", UserWarning)
            program = torch.onnx.export(
                network,
                example,
                dynamo=True,
                opset_version=opset,
                input_names=list(INPUTS),
                output_names=network.names,
                dynamic_shapes=({0: slices}, {0: units, 1: slices}),
                external_data=False,
                verbose=False,
            )
    except torch.onnx.OnnxExporterError as error:
        raise EngineError(
            f"a network that PyTorch's exporter can write as ONNX opset {opset}",
            f"{type(error).__name__}: {str(error).strip().splitlines()[0]}",
            "Choose another backbone.name or export.opset in params.yaml.",
        ) from error
    assert program is not None
    graph = program.model_proto
    strip_provenance(graph)
    with torch.inference_mode():
        shapes = [list(found.shape) for found in network(*example)]
    check(graph, size, opset, dict(zip(network.names, shapes, strict=True)))
    write_atomic(path, lambda handle: handle.write(graph.SerializeToString(deterministic=True)))


def strip_provenance(graph: onnx.ModelProto) -> None:
    """Take out, in place, what tells where and by which build the graph was made and not what it computes.

    The exporter writes stack traces with the machine's paths into every node; they would also make the bytes differ
    between two checkouts.
    """
    graph.producer_version = ""
    for message in _messages(graph):
        for field in ("metadata_props", "doc_string"):
            if field in message.DESCRIPTOR.fields_by_name:
                message.ClearField(field)


def _messages(message: Any) -> Iterator[Any]:
    """A protobuf message and every message inside it."""
    yield message
    for descriptor, value in message.ListFields():
        if descriptor.message_type is not None:
            for inner in value if descriptor.is_repeated else [value]:
                yield from _messages(inner)


def check(graph: onnx.ModelProto, size: int, opset: int, outputs: Mapping[str, list[int]]) -> None:
    """See that the graph is valid ONNX and has the shapes that the contract promises.

    Args:
        graph: what the exporter made.
        size: of its slices.
        opset: asked for.
        outputs: the shape of each for the example.

    Raises:
        EngineError: it is not, or the exporter fixed a free dimension or kept another opset.
    """
    try:
        onnx.checker.check_model(graph, full_check=True)
    except (onnx.checker.ValidationError, onnx.shape_inference.InferenceError) as error:
        raise EngineError(
            "a valid ONNX graph from the exporter",
            str(error).strip().splitlines()[0],
            "Choose another export.opset in params.yaml.",
        ) from error
    found = (
        [(value.name, *_shape(value)) for value in (*graph.graph.input, *graph.graph.output)],
        {entry.domain or "ai.onnx": entry.version for entry in graph.opset_import},
    )
    of_units = ("probabilities", "logits", "embedding")
    shapes = [(name, UNITS if name in of_units else SLICES, *shape[1:]) for name, shape in outputs.items()]
    inputs = [(INPUTS[0], SLICES, 1, size, size), (INPUTS[1], UNITS, SLICES)]
    promised = ([*inputs, *shapes], {"ai.onnx": opset})
    if found != promised:
        raise EngineError(
            f"a graph of {promised}",
            str(found),
            "The network must take any number of slices and of units; choose another one or another opset.",
        )


def _shape(value: onnx.ValueInfoProto) -> list[int | str]:
    return [dim.dim_param or dim.dim_value for dim in value.type.tensor_type.shape.dim]
