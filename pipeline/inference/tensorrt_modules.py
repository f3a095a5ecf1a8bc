"""The installed TensorRT, and everything in which `tensorrt` (10, 11) and `tensorrt_rtx` differ.

| | `tensorrt` | `tensorrt_rtx` |
|---|---|---|
| builds for | the GPU it runs on | any of its compute capabilities, without a GPU too |
| `hardware_compatible` | runs from compute capability 8.0 on | one engine for all that are asked for |
| `version_compatible` | runs in later versions | refused: it comes without the lean runtime for that |
| kept between builds | timing cache | nothing: its timing cache is a stub that does nothing |
| kept between runs | nothing | runtime cache, the kernels that it compiles when first run |
| CUDA graphs | captured by `tensorrt_run` | captured by itself |

`tensorrt` 11 is always strongly typed, and takes the flag by which 10 is told to be.
"""

from __future__ import annotations

import importlib
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any

from pipeline.errors import EngineError
from pipeline.files import write_atomic
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

    @property
    def ahead_of_time(self) -> bool:
        """Whether it builds for GPUs that are not there; what it builds is finished when it is first run."""
        return self.name == "tensorrt_rtx"

    def aim(self, config: Any, capabilities: list[str]) -> None:
        """Tell a build for which GPUs it is; `tensorrt` knows no other than its own."""
        if not self.ahead_of_time:
            return
        config.num_compute_capabilities = len(capabilities)
        for place, capability in enumerate(capabilities):
            target = getattr(self.module.ComputeCapability, f"SM{capability.replace('.', '')}")
            config.set_compute_capability(target, place)

    def widen(self, config: Any, version_compatible: bool, hardware_compatible: bool) -> None:
        """Ask a build for an engine that runs in later versions, and on other GPUs (see above).

        Raises:
            EngineError: this TensorRT cannot.
        """
        if version_compatible and self.ahead_of_time:
            raise EngineError(
                "a TensorRT that builds for its later versions",
                f"{self.name} {self.version}, which comes without the lean runtime for that",
                "Set compile.version_compatible to false in params.yaml, or build with `tensorrt`.",
            )
        if version_compatible:
            config.set_flag(self.module.BuilderFlag.VERSION_COMPATIBLE)
        if hardware_compatible and not self.ahead_of_time:
            config.hardware_compatibility_level = self.module.HardwareCompatibilityLevel.AMPERE_PLUS

    def recall(self, config: Any, folder: Path | None) -> None:
        """Give a build what earlier ones have measured; what is of another GPU or version is measured anew."""
        if folder is None or self.ahead_of_time:
            return
        path = self._timing(folder)
        cache = config.create_timing_cache(path.read_bytes() if path.is_file() else b"")
        if cache is None or not config.set_timing_cache(cache, ignore_mismatch=False):
            say(f"compile: the timing cache {path} is not of this machine; it is measured anew")
            config.set_timing_cache(config.create_timing_cache(b""), ignore_mismatch=False)

    def keep(self, config: Any, folder: Path | None) -> None:
        """Keep what a build has measured for the next one."""
        if folder is None or self.ahead_of_time:
            return
        measured = memoryview(config.get_timing_cache().serialize())
        write_atomic(self._timing(folder), lambda handle: handle.write(measured))

    def _timing(self, folder: Path) -> Path:
        return folder / f"{self.name}-{self.version}-sm{self.capabilities[0].replace('.', '')}.timing"

    def context(self, engine: Any, kept: Path) -> tuple[Any, Any]:
        """A context that runs an engine, and its runtime cache, begun with what is in `kept`; None where it has none.

        `tensorrt_rtx` swaps no kernel for another while it runs: those that the parity cases ran are those that answer.
        """
        if not self.ahead_of_time:
            return engine.create_execution_context(), None
        settings = engine.create_runtime_config()
        settings.cuda_graph_strategy = self.module.CudaGraphStrategy.WHOLE_GRAPH_CAPTURE
        strategies = self.module.DynamicShapesKernelSpecializationStrategy
        settings.dynamic_shapes_kernel_specialization_strategy = strategies.NONE
        cache = settings.create_runtime_cache()
        if kept.is_file() and not cache.deserialize(kept.read_bytes()):
            say(f"the runtime cache {kept} is not of this machine; kernels are compiled anew")
        settings.set_runtime_cache(cache)
        return engine.create_execution_context(runtime_config=settings), cache


def find() -> Builder:
    """The TensorRT to build and run with: `tensorrt` where there is a GPU for it, else `tensorrt_rtx`.

    Raises:
        EngineError: no such package, or `tensorrt` alone on a machine without a GPU.
    """
    installed = {name: module for name in MODULES if (module := _import(name)) is not None}
    own = gpu.compute_capability()
    if "tensorrt" in installed and own is not None:
        return Builder(installed["tensorrt"], [own])
    if "tensorrt_rtx" in installed:
        return Builder(installed["tensorrt_rtx"], _named(installed["tensorrt_rtx"]))
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


def _named(rtx: ModuleType) -> list[str]:
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
