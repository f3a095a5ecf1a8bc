"""PyTorch to ONNX: one file, batch free, equal inputs give equal bytes."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import onnx
import torch
from torch import nn

from pipeline.errors import EngineError
from pipeline.files import write_atomic

INPUT, OUTPUT, BATCH = "slices", "logits", "N"


def export(model: nn.Module, size: int, opset: int, path: Path) -> None:
    """Write `model` as ONNX: float32 `slices` (N, 1, size, size) in 0..1 to float32 `logits`, N free.

    `logits` are the rows of `transfer.head.Head`: (N, K), or (N, K + 1) with attention.

    The graph is the model in evaluation mode, in fp32; weights stand in the file itself.

    Raises:
        EngineError: the exporter cannot express the model in this opset, or with a free batch.
    """
    model = model.eval().float().cpu()
    example = torch.zeros(2, 1, size, size)
    try:
        program = torch.onnx.export(
            model,
            (example,),
            dynamo=True,
            opset_version=opset,
            input_names=[INPUT],
            output_names=[OUTPUT],
            dynamic_shapes=({0: torch.export.Dim(BATCH)},),
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
        columns = model(example).shape[1]
    check(graph, size, opset, columns)
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


def check(graph: onnx.ModelProto, size: int, opset: int, columns: int) -> None:
    """See that the graph is valid ONNX and has the shape that the contract promises.

    Raises:
        EngineError: it is not, or the exporter fixed the batch or kept another opset.
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
    promised = ([(INPUT, BATCH, 1, size, size), (OUTPUT, BATCH, columns)], {"ai.onnx": opset})
    if found != promised:
        raise EngineError(
            f"a graph of {promised}",
            str(found),
            "The network must take any number of slices and give as many rows; choose another one or another opset.",
        )


def _shape(value: onnx.ValueInfoProto) -> list[int | str]:
    return [dim.dim_param or dim.dim_value for dim in value.type.tensor_type.shape.dim]
