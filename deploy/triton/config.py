"""`config.pbtxt` of a model: what Triton is told of it, in protobuf's text form (model_config.proto)."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import onnxruntime

from pipeline.contract import Manifest
from pipeline.errors import ContractError
from pipeline.targets import Targets

#: Types of a graph's inputs and outputs, as ONNX Runtime and Triton name them.
_TYPES = {"tensor(uint8)": "TYPE_UINT8", "tensor(float)": "TYPE_FP32"}
#: A dimension that every request may choose.
FREE = -1


@dataclass(frozen=True)
class Tensor:
    """One input or output: `dims` are whole shapes, `FREE` where a request chooses."""

    name: str
    data_type: str
    dims: tuple[int, ...]


@dataclass(frozen=True)
class Ports:
    """What a graph takes and gives, in its order."""

    inputs: tuple[Tensor, ...]
    outputs: tuple[Tensor, ...]


def ports(graph: Path) -> Ports:
    """Those of an ONNX file that a release has been opened with."""
    session = onnxruntime.InferenceSession(str(graph), providers=["CPUExecutionProvider"])
    return Ports(tuple(map(_tensor, session.get_inputs())), tuple(map(_tensor, session.get_outputs())))


def _tensor(port: onnxruntime.NodeArg) -> Tensor:
    dims = tuple(size if isinstance(size, int) else FREE for size in port.shape)
    return Tensor(port.name, _TYPES.get(port.type, port.type), dims)


def check(found: Ports, manifest: Manifest) -> None:
    """See that a graph takes and gives what the contract promises; features and maps may be of any size.

    Raises:
        ContractError: it does not.
    """
    size, answers = manifest.transform.size, Targets(manifest.task.kind, tuple(manifest.task.classes)).outputs
    told = {tensor.name: tensor for tensor in found.outputs}
    shapes = {
        "probabilities": (FREE, answers),
        "logits": (FREE, answers),
        "slice_scores": (FREE, answers),
        "embedding": (FREE, *told["embedding"].dims[1:]) if "embedding" in told else (),
        "saliency": (FREE, answers, *told["saliency"].dims[2:]) if "saliency" in told else (),
    }
    inputs = (
        Tensor(manifest.graph.inputs[0], "TYPE_UINT8", (FREE, 1, size, size)),
        Tensor(manifest.graph.inputs[1], "TYPE_FP32", (FREE, FREE)),
    )
    promised = Ports(inputs, tuple(Tensor(name, "TYPE_FP32", shapes[name]) for name in manifest.graph.outputs))
    known = all(size > 0 for tensor in found.outputs for size in tensor.dims[1:])
    if found != promised or not known:
        raise ContractError(
            f"a graph with {_words(promised)}", _words(found), "The release was put together wrongly; ask its maker."
        )


def _words(named: Ports) -> str:
    return ", ".join(f"{tensor.name} {tensor.data_type} {list(tensor.dims)}" for tensor in named.inputs + named.outputs)


def text(
    name: str, platform: str, named: Ports, kind: str, files: Mapping[str, str] | str, parameters: Mapping[str, str]
) -> str:
    """The configuration; equal arguments give equal text.

    Args:
        name: of the model, which is its folder's.
        platform: `onnxruntime_onnx` or `tensorrt_plan`.
        named: what its graph takes and gives.
        kind: of its instances, `KIND_CPU` or `KIND_GPU`.
        files: the model's file, or one for each compute capability, and none for others.
        parameters: what a client may ask the server about the model.
    """
    lines = [f"name: {_quoted(name)}", f"platform: {_quoted(platform)}"]
    # Both inputs have their own first dimension, so that no request may be joined to another by it.
    lines.append("max_batch_size: 0")
    for block, tensors in (("input", named.inputs), ("output", named.outputs)):
        lines += [_block(block, tensor) for tensor in tensors]
    lines.append(f"instance_group {{\n  count: 1\n  kind: {kind}\n}}")
    if isinstance(files, str):
        lines.append(f"default_model_filename: {_quoted(files)}")
    else:
        lines += [_entry("cc_model_filenames", key, _quoted(file)) for key, file in sorted(files.items())]
    lines += [
        _entry("parameters", key, f"{{ string_value: {_quoted(value)} }}") for key, value in sorted(parameters.items())
    ]
    return "\n".join(lines) + "\n"


def _block(name: str, tensor: Tensor) -> str:
    dims = ", ".join(map(str, tensor.dims))
    return f"{name} {{\n  name: {_quoted(tensor.name)}\n  data_type: {tensor.data_type}\n  dims: [ {dims} ]\n}}"


def _entry(name: str, key: str, value: str) -> str:
    """One pair of a map."""
    return f"{name} {{\n  key: {_quoted(key)}\n  value: {value}\n}}"


def _quoted(value: str) -> str:
    """A string of the text form, which escapes as JSON does as far as ASCII goes, and takes UTF-8 as it is."""
    return json.dumps(value, ensure_ascii=False)


def parameters(manifest: Manifest, precision: str) -> dict[str, str]:
    """What a client must know that the ports do not tell: how to prepare, at what to decide, how many slices fit."""
    values: dict[str, str | int | Sequence[str] | float | list[float] | None] = {
        "classes": manifest.task.classes,
        "graph_sha256": manifest.graph.sha256,
        "label_level": manifest.task.label_level,
        "most_slices": manifest.graph.most_slices,
        "neighbours_sd": manifest.calibration.neighbours_sd,
        "precision": precision,
        "release": f"{manifest.name} {manifest.version}",
        "task": manifest.task.kind,
        "threshold": manifest.calibration.threshold,
    }
    stated = {key: value if isinstance(value, str) else json.dumps(value) for key, value in values.items()}
    return {**stated, "transform": manifest.transform.model_dump_json()}
