"""One adapter over `tensorrt` (10, 11) and `tensorrt_rtx`: which is there, what it can build for, and the build.

The two share one API under two module names. What differs stands in `Builder`: `tensorrt` builds only for the GPU it
runs on, `tensorrt_rtx` for any of its compute capabilities, without a GPU too. Without a GPU neither can load an engine
again (the runtime asks the driver first), so nothing here claims that one runs.
"""

from __future__ import annotations

import importlib
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any

from pipeline.contract import Engine
from pipeline.errors import EngineError
from pipeline.files import sha256_file, write_atomic
from pipeline.inference import gpu
from pipeline.progress import say

#: Preferred first.
MODULES = ("tensorrt", "tensorrt_rtx")


@dataclass(frozen=True)
class Builder:
    """An installed TensorRT and what it builds for.

    Attributes:
        module: the package `tensorrt` or `tensorrt_rtx`.
        capabilities: the compute capabilities that it builds for here.
    """

    module: ModuleType
    capabilities: list[str]

    @property
    def name(self) -> str:
        """The module's name."""
        return self.module.__name__

    @property
    def version(self) -> str:
        """The package's version."""
        return str(self.module.__version__)


def find() -> Builder:
    """The TensorRT to build with: `tensorrt` where there is a GPU for it, else `tensorrt_rtx`.

    Raises:
        EngineError: no such package, or `tensorrt` alone on a machine without a GPU.
    """
    installed = {name: module for name in MODULES if (module := _import(name)) is not None}
    own = gpu.compute_capability()
    if "tensorrt" in installed and own is not None:
        return Builder(installed["tensorrt"], [own])
    if "tensorrt_rtx" in installed:
        return Builder(installed["tensorrt_rtx"], _ahead_of_time(installed["tensorrt_rtx"]))
    raise EngineError(
        "a TensorRT that builds on this machine",
        "`tensorrt`, which needs a GPU to build, and no GPU" if installed else "neither `tensorrt` nor `tensorrt_rtx`",
        "`pip install tensorrt_rtx` (builds without a GPU, for RTX cards) or `pip install tensorrt` (any NVIDIA GPU, "
        "builds on it); or set compile.required to false in params.yaml for a release without an engine.",
    )


def _import(name: str) -> ModuleType | None:
    """The module, or None where it is not installed or one of its libraries is missing."""
    try:
        return importlib.import_module(name)
    except ModuleNotFoundError:
        return None
    except (ImportError, OSError) as error:
        say(f"compile: {name} is installed and cannot be loaded: {error}")
        return None


def _ahead_of_time(rtx: ModuleType) -> list[str]:
    """The compute capabilities that `tensorrt_rtx` names, such as "8.6" for its SM86."""
    names = [name for name in dir(rtx.ComputeCapability) if name.startswith("SM")]
    return sorted((f"{name[2:-1]}.{name[-1]}" for name in names), key=float)


def targets(builder: Builder, wanted: list[str]) -> list[str]:
    """What to build for: this machine's GPU where the builder knows it, else each of `wanted`.

    Raises:
        EngineError: the builder does not know one of them.
    """
    own = gpu.compute_capability()
    if own in builder.capabilities:
        return [own]
    if own is not None:
        say(f"compile: {builder.name} does not build for this machine's GPU ({own}); building for {', '.join(wanted)}")
    unknown = [capability for capability in wanted if capability not in builder.capabilities]
    if unknown:
        raise EngineError(
            f"compute capabilities that {builder.name} builds for ({', '.join(builder.capabilities)})",
            ", ".join(unknown),
            "Change compile.compute_capabilities in params.yaml, or build on that GPU with `pip install tensorrt`.",
        )
    return wanted


def build(
    builder: Builder, onnx_path: Path, out: Path, compute_capability: str, slices: tuple[int, int, int]
) -> Engine:
    """Build an engine from an ONNX file of the contract and write it to `out`.

    Strongly typed: precision is what the graph says, and TF32 is off, so that fp32 means fp32. `slices` is the least,
    usual and largest N. Two builds need not give equal bytes.

    Raises:
        EngineError: TensorRT cannot read the graph or cannot build for this GPU.
    """
    log = _log(builder.module)
    trt_builder = builder.module.Builder(log)
    network = _network(builder, trt_builder, log, onnx_path)
    config = trt_builder.create_builder_config()
    config.clear_flag(builder.module.BuilderFlag.TF32)
    profile = trt_builder.create_optimization_profile()
    for name, shapes in _shapes(network, slices).items():
        profile.set_shape(name, *shapes)
    if config.add_optimization_profile(profile) < 0:
        raise EngineError(
            "compile.slices that rise: least, usual, most", f"{list(slices)}", "Change it in params.yaml."
        )
    if builder.name == "tensorrt_rtx":
        config.num_compute_capabilities = 1
        target = getattr(builder.module.ComputeCapability, f"SM{compute_capability.replace('.', '')}")
        config.set_compute_capability(target, 0)
    plan = trt_builder.build_serialized_network(network, config)
    if plan is None:
        raise _failed(f"an engine for compute capability {compute_capability}", builder, log)
    _check_size(plan.nbytes, onnx_path)
    write_atomic(out, lambda handle: handle.write(memoryview(plan)))
    return Engine(
        file=out.name,
        sha256=sha256_file(out),
        builder=builder.name,
        builder_version=builder.version,
        compute_capability=compute_capability,
        status="built, not run",
    )


def _network(builder: Builder, trt_builder: Any, log: Any, onnx_path: Path) -> Any:
    """The ONNX graph as a strongly typed TensorRT network."""
    trt = builder.module
    network = trt_builder.create_network(1 << int(trt.NetworkDefinitionCreationFlag.STRONGLY_TYPED))
    parser = trt.OnnxParser(network, log)
    if not parser.parse_from_file(str(onnx_path)):
        raise _failed(f"an ONNX graph that {builder.name} reads in {onnx_path}", builder, log)
    return network


def _shapes(network: Any, slices: tuple[int, int, int]) -> dict[str, list[tuple[int, ...]]]:
    """Of each input the least, usual and largest shape: usually the slices are those of one unit."""
    pictures, belongs = (network.get_input(place) for place in range(network.num_inputs))
    units = (1, 1, slices[2])
    return {
        pictures.name: [(count, *tuple(pictures.shape)[1:]) for count in slices],
        belongs.name: list(zip(units, slices, strict=True)),
    }


def _check_size(n_bytes: int, onnx_path: Path) -> None:
    """The engine carries the same fp32 weights as the graph, so it cannot be much smaller."""
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


def _log(trt: ModuleType) -> Any:
    """A TensorRT logger that keeps errors for our own message, says warnings on our log, and drops the rest."""

    class Log(trt.ILogger):  # type: ignore[name-defined]
        def __init__(self) -> None:
            super().__init__()
            self.errors: list[str] = []

        def log(self, severity: Any, message: str) -> None:
            if severity in (trt.ILogger.INTERNAL_ERROR, trt.ILogger.ERROR):
                self.errors.append(" ".join(message.split()))
            elif severity == trt.ILogger.WARNING:
                say(f"compile: {trt.__name__} warns: {' '.join(message.split())}")

    return Log()
