"""A TensorRT engine as a backend: buffers bound once, and a CUDA graph where a shape comes again.

Tests hold every call of it against the signatures of the real `tensorrt_rtx` and `cuda-bindings`; where no GPU was, it
has run on none.
"""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from pipeline.errors import EngineError, PipelineError
from pipeline.files import write_atomic
from pipeline.fingerprint import Precision
from pipeline.inference.answers import INPUTS, Answers, Floats, Slices, require_names
from pipeline.inference.cuda import Device
from pipeline.inference.tensorrt import logger
from pipeline.inference.tensorrt_modules import Builder

#: Calls with one shape before it is captured: TensorRT prepares a shape in its first one.
_FIRST = 1


class TensorRt:
    """An engine of a release's graph on this machine's GPU.

    Attributes:
        name: with version, GPU and precision.
        size: see `answers.Backend`.
        outputs: see `answers.Backend`.
        most: slices in one call.
    """

    def __init__(self, path: Path, builder: Builder, precision: Precision) -> None:
        """Load an engine and bind buffers for the largest shapes that it takes.

        Args:
            path: the engine; what the runtime keeps between runs lies beside it.
            builder: the TensorRT that built it.
            precision: of its graph, for the name.

        Raises:
            EngineError: no GPU, or the engine is damaged, or of another GPU, version or graph.
        """
        self._device = Device()
        self._trt, self._log = builder.module, logger(builder.module)
        self._context: Any = None
        self._runtime: Any = None
        try:
            self._open(path, builder)
        except PipelineError:
            self._end()
            raise
        self.name = f"{builder.name} {builder.version}, {self._device.gpu.name}, {precision}"

    def _open(self, path: Path, builder: Builder) -> None:
        self._engine = self._load(path, builder)
        self._kept = path.with_suffix(".kernels")
        self._context, self._cache = builder.context(self._engine, self._kept)
        if self._context is None:
            raise self._refused(path, "a context to run it in")
        self._captures = not builder.ahead_of_time
        names = [self._engine.get_tensor_name(place) for place in range(self._engine.num_io_tensors)]
        gives = [name for name in names if self._engine.get_tensor_mode(name) == self._trt.TensorIOMode.OUTPUT]
        require_names(path, [name for name in names if name not in gives], gives)
        self._types = {name: np.dtype(self._trt.nptype(self._engine.get_tensor_dtype(name))) for name in names}
        self._shapes: dict[str, tuple[int, ...]] = {}
        self._calls = 0
        self._recorded: Any = None
        largest = [tuple(self._engine.get_tensor_profile_shape(name, 0)[2]) for name in INPUTS]
        self._shape(dict(zip(INPUTS, largest, strict=True)))
        self._buffers = {name: self._device.buffer(self._bytes(name)) for name in names}
        for name, buffer in self._buffers.items():
            self._context.set_tensor_address(name, buffer.device)
        self.most, self.size = largest[0][0], largest[0][-1]
        self.outputs = {name: self._shapes[name][1] for name in gives}

    def run(self, slices: Slices, membership: Floats) -> Answers:
        """See `answers.Backend`.

        Raises:
            EngineError: more slices than the engine takes, or the GPU refuses.
        """
        if len(slices) > self.most or not len(slices):
            raise EngineError(
                f"1 to {self.most} slices, as the engine was built for",
                str(len(slices)),
                "Build it with a larger compile.slices in params.yaml.",
            )
        self._device.activate()
        given: dict[str, npt.NDArray[Any]] = dict(zip(INPUTS, (slices[:, np.newaxis], membership), strict=True))
        self._shape({name: value.shape for name, value in given.items()})
        for name, value in given.items():
            self._buffers[name].view(self._types[name], value.shape)[...] = value
        self._launch()
        self._device.wait()
        found = {name: self._buffers[name].view(self._types[name], self._shapes[name]) for name in self.outputs}
        # Copied: the next call writes into the same buffers.
        return Answers(**{name: value.astype(np.float32, copy=True) for name, value in found.items()})

    def inspect(self) -> str:
        """What the engine's inspector says of its layers, as JSON."""
        return str(self._engine.create_engine_inspector().get_engine_information(self._trt.LayerInformationFormat.JSON))

    def close(self) -> None:
        """Keep what the runtime compiled, and give back the GPU's memory."""
        if self._cache is not None:
            compiled = memoryview(self._cache.serialize())
            write_atomic(self._kept, lambda handle: handle.write(compiled))
        self._device.activate()
        self._forget()
        self._end()

    def _end(self) -> None:
        """TensorRT's own objects go before the context that they live in."""
        self._context = self._cache = self._engine = self._runtime = None
        self._device.close()

    def _load(self, path: Path, builder: Builder) -> Any:
        self._runtime = self._trt.Runtime(self._log)
        if not builder.ahead_of_time:
            # A version-compatible engine carries the runtime of its version as host code.
            self._runtime.engine_host_code_allowed = True
        engine = self._runtime.deserialize_cuda_engine(path.read_bytes())
        if engine is None:
            raise self._refused(path, "an engine that this TensorRT loads")
        return engine

    def _refused(self, path: Path, what: str) -> EngineError:
        said = self._log.errors[-1] if self._log.errors else "no engine and no message"
        return EngineError(
            f"{what} in {path}",
            f"{self._trt.__name__} {self._trt.__version__} said: {said}",
            "Build it on this machine: `python -m deploy.box compile RELEASE --state DIR`.",
        )

    def _shape(self, shapes: dict[str, tuple[int, ...]]) -> None:
        """Tell the inputs' shapes, and ask for those of the outputs."""
        if all(self._shapes.get(name) == shape for name, shape in shapes.items()):
            return
        self._forget()
        for name, shape in shapes.items():
            if not self._context.set_input_shape(name, shape):
                raise EngineError(
                    f"{name} of a shape that the engine takes", str(shape), "Build it with another compile.slices."
                )
        lacking = self._context.infer_shapes()
        if lacking:
            raise EngineError(
                "an engine whose shapes follow from its inputs", ", ".join(lacking), "Build the engine anew."
            )
        self._shapes = {name: tuple(self._context.get_tensor_shape(name)) for name in self._types}

    def _launch(self) -> None:
        """Queue a call: by itself, or as a graph where its shape came before."""
        self._calls += 1
        if self._recorded is None and self._captures and self._calls > _FIRST:
            self._device.begin_capture()
            self._enqueue()
            self._recorded = self._device.end_capture()
        if self._recorded is None:
            self._enqueue()
        else:
            self._device.launch(self._recorded)

    def _enqueue(self) -> None:
        for name in INPUTS:
            self._device.send(self._buffers[name], self._bytes(name))
        if not self._context.execute_async_v3(int(self._device.stream)):
            said = self._log.errors[-1] if self._log.errors else "nothing"
            raise EngineError(
                "the engine to run", f"TensorRT refused and said: {said}", "See that the GPU has free memory."
            )
        for name in self.outputs:
            self._device.fetch(self._buffers[name], self._bytes(name))

    def _forget(self) -> None:
        """Another shape comes: what was captured is of the old one."""
        if self._recorded is not None:
            self._device.forget(self._recorded)
        self._calls, self._recorded = 0, None

    def _bytes(self, name: str) -> int:
        return math.prod(self._shapes[name]) * int(self._types[name].itemsize)
