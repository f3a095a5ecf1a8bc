"""A release's graph to a TensorRT engine, by `tensorrt` or `tensorrt_rtx`; how they differ: `tensorrt_modules`.

Without a GPU neither can load an engine again: the runtime asks the driver first. So nothing here claims that one runs.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any, Literal

from pipeline.errors import EngineError
from pipeline.files import sha256_file, write_atomic
from pipeline.fingerprint import NOT_RUN, Precision
from pipeline.inference.tensorrt_modules import MODULES as MODULES
from pipeline.inference.tensorrt_modules import Builder as Builder
from pipeline.inference.tensorrt_modules import find as find
from pipeline.inference.tensorrt_modules import targets as targets
from pipeline.progress import say

#: Least, usual and most slices in one call.
Range = tuple[int, int, int]


@dataclass(frozen=True)
class Options:
    """How to build.

    Attributes:
        version_compatible, hardware_compatible: see `fingerprint.Engine`.
        alone: slices are units by themselves, so that there are as many units as slices.
        cache: the folder of the timing cache; None: none is kept.
    """

    version_compatible: bool = False
    hardware_compatible: bool = False
    alone: bool = False
    cache: Path | None = None


@dataclass(frozen=True)
class Built:
    """An engine that lies in a file.

    Attributes:
        precision: of the layers that take the time, read from the network that was built.
        status: nothing that builds has run it.
    """

    file: str
    sha256: str
    builder: str
    builder_version: str
    compute_capabilities: list[str]
    precision: Precision
    slices: Range
    status: Literal["built, not run"] = NOT_RUN


def build(
    builder: Builder,
    onnx_path: Path,
    out: Path,
    capabilities: str | list[str],
    slices: Range,
    how: Options | None = None,
) -> Built:
    """Build an engine from an ONNX file of the contract and write it to `out`.

    Strongly typed: precision is what the graph says, and TF32 is off, so that fp32 means fp32. Two builds need not give
    equal bytes.

    Args:
        builder: which TensorRT.
        onnx_path: the graph, in any precision.
        out: where the engine goes.
        capabilities: the compute capability that it is for, or several in one engine (`tensorrt_rtx`).
        slices: least, usual and most.
        how: None: without options.

    Raises:
        EngineError: TensorRT cannot read the graph or cannot build for this GPU.
    """
    how = how or Options()
    wanted = [capabilities] if isinstance(capabilities, str) else capabilities
    log = logger(builder.module)
    trt_builder = builder.module.Builder(log)
    network = _network(builder, trt_builder, log, onnx_path)
    config = trt_builder.create_builder_config()
    _profile(trt_builder, config, network, slices, how.alone)
    _configure(builder, config, wanted, how)
    plan = trt_builder.build_serialized_network(network, config)
    if plan is None:
        raise _failed(f"an engine for compute capability {', '.join(wanted)}", builder, log)
    builder.keep(config, how.cache)
    _check_size(plan.nbytes, onnx_path)
    write_atomic(out, lambda handle: handle.write(memoryview(plan)))
    kind = precision(builder.module, network)
    return Built(out.name, sha256_file(out), builder.name, builder.version, wanted, kind, slices)


def _network(builder: Builder, trt_builder: Any, log: Any, onnx_path: Path) -> Any:
    """The ONNX graph as a strongly typed TensorRT network."""
    trt = builder.module
    network = trt_builder.create_network(1 << int(trt.NetworkDefinitionCreationFlag.STRONGLY_TYPED))
    parser = trt.OnnxParser(network, log)
    if not parser.parse_from_file(str(onnx_path)):
        raise _failed(f"an ONNX graph that {builder.name} reads in {onnx_path}", builder, log)
    return network


def _configure(builder: Builder, config: Any, wanted: list[str], how: Options) -> None:
    config.clear_flag(builder.module.BuilderFlag.TF32)
    config.profiling_verbosity = builder.module.ProfilingVerbosity.DETAILED  # for the inspector; it costs no time
    builder.aim(config, wanted)
    builder.widen(config, how.version_compatible, how.hardware_compatible)
    builder.recall(config, how.cache)


def precision(trt: ModuleType, network: Any) -> Precision:
    """What the layers that take the time compute in; a strongly typed network says it, and is built as it says."""
    layers = [network.get_layer(place) for place in range(network.num_layers)]
    if any(layer.type == trt.LayerType.QUANTIZE for layer in layers):
        return "int8"
    heavy = (trt.LayerType.CONVOLUTION, trt.LayerType.MATRIX_MULTIPLY)
    found = Counter(layer.get_output(0).dtype for layer in layers if layer.type in heavy)
    named: dict[Any, Precision] = {trt.DataType.HALF: "fp16", trt.DataType.BF16: "bf16"}
    return next((name for kind, name in named.items() if found[kind]), "fp32")


def _profile(trt_builder: Any, config: Any, network: Any, slices: Range, alone: bool) -> None:
    """Tell the least, usual and largest shape of each input."""
    profile = trt_builder.create_optimization_profile()
    for name, shapes in _shapes(network, slices, alone).items():
        profile.set_shape(name, *shapes)
    if config.add_optimization_profile(profile) < 0:
        raise EngineError(
            "compile.slices that rise: least, usual, most", f"{list(slices)}", "Change it in params.yaml."
        )


def _shapes(network: Any, slices: Range, alone: bool) -> dict[str, list[tuple[int, ...]]]:
    """Usually the slices are those of one unit, or each is its own."""
    pictures, belongs = (network.get_input(place) for place in range(network.num_inputs))
    units = (1, slices[1] if alone else 1, slices[2])
    return {
        pictures.name: [(count, *tuple(pictures.shape)[1:]) for count in slices],
        belongs.name: list(zip(units, slices, strict=True)),
    }


def _check_size(n_bytes: int, onnx_path: Path) -> None:
    """The engine carries the same weights as the graph, so it cannot be much smaller."""
    least = onnx_path.stat().st_size // 2
    if n_bytes < least:
        raise EngineError(
            f"an engine of at least {least} bytes, half its graph", f"{n_bytes} bytes", "Run the stage again."
        )


def _failed(expected: str, builder: Builder, log: Any) -> EngineError:
    found = log.errors[-1] if log.errors else "no engine and no message"
    return EngineError(
        expected,
        f"{builder.name} {builder.version} said: {found}",
        "Another backbone.name, export.opset or compile.compute_capabilities in params.yaml may be within its means.",
    )


def logger(trt: ModuleType) -> Any:
    """A TensorRT logger that keeps errors for our own message, says warnings on our log, and drops the rest."""

    class Log(trt.ILogger):  # type: ignore[name-defined]
        def __init__(self) -> None:
            super().__init__()
            self.errors: list[str] = []

        def log(self, severity: Any, message: str) -> None:
            if severity in (trt.ILogger.INTERNAL_ERROR, trt.ILogger.ERROR):
                self.errors.append(" ".join(message.split()))
            elif severity == trt.ILogger.WARNING:
                say(f"{trt.__name__} warns: {' '.join(message.split())}")

    return Log()
