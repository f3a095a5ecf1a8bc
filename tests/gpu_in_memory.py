# ruff: noqa: N802, N815 - the names are those of CUDA
"""A GPU that is none: CUDA's driver over the host's memory, and a TensorRT runtime that ONNX Runtime answers for.

It shows that the run side calls what there is, in an order that works, and moves the right bytes. It shows nothing of
a real GPU's numbers or times.
"""

from __future__ import annotations

import ctypes
import math
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import onnxruntime
import pytest
import tensorrt_rtx
from cuda.bindings import driver

from pipeline.inference import cuda, gpu, tensorrt
from pipeline.inference.tensorrt_modules import Builder
from tests.signatures import Checked, driver_call

GPU = gpu.Gpu("A card that is none", "8.9", "580.00")
TYPES = {"slices": tensorrt_rtx.DataType.UINT8}


class Driver:
    """The calls of `cuda.bindings.driver`; what is queued runs when the stream is waited for."""

    CUresult, CUstream_flags = driver.CUresult, driver.CUstream_flags
    CUstreamCaptureMode = driver.CUstreamCaptureMode

    def __init__(self) -> None:
        self.memory: dict[int, Any] = {}
        self.queue: list[Callable[[], None]] = []
        self.captured: list[Callable[[], None]] | None = None
        self.calls: list[str] = []
        self.fails: str | None = None

    def __getattr__(self, name: str) -> Callable[..., Any]:
        action = object.__getattribute__(self, f"_{name}")

        def call(*args: Any) -> Any:
            self.calls.append(name)
            if name == self.fails:
                return (driver.CUresult.CUDA_ERROR_OUT_OF_MEMORY, *[None] * (name == "cuMemAlloc"))
            found = action(*args)
            result = (driver.CUresult.CUDA_SUCCESS, *([] if found is None else [found]))
            driver_call(name, args, result)
            return result

        return call

    def enqueue(self, work: Callable[[], None]) -> None:
        (self.queue if self.captured is None else self.captured).append(work)

    def _cuInit(self, flags: int) -> None:
        assert flags == 0

    def _cuDeviceGet(self, ordinal: int) -> int:
        return ordinal

    def _cuDevicePrimaryCtxRetain(self, device: int) -> str:
        return "context"

    def _cuDevicePrimaryCtxRelease(self, device: int) -> None:
        assert not self.memory

    def _cuCtxSetCurrent(self, context: str) -> None:
        assert context == "context"

    def _cuStreamCreate(self, flags: int) -> driver.CUstream:
        return driver.CUstream(7)

    def _cuStreamDestroy(self, stream: driver.CUstream) -> None:
        assert not self.queue

    def _cuStreamSynchronize(self, stream: driver.CUstream) -> None:
        assert self.captured is None
        for work in self.queue:
            work()
        self.queue.clear()

    def _cuMemAllocHost(self, n_bytes: int) -> int:
        room = ctypes.create_string_buffer(n_bytes)
        self.memory[ctypes.addressof(room)] = room
        return ctypes.addressof(room)

    def _cuMemAlloc(self, n_bytes: int) -> driver.CUdeviceptr:
        return driver.CUdeviceptr(self._cuMemAllocHost(n_bytes))

    def _cuMemFreeHost(self, address: int) -> None:
        del self.memory[address]

    def _cuMemFree(self, address: int) -> None:
        del self.memory[address]

    def _cuMemcpyHtoDAsync(self, to: int, source: int, n_bytes: int, stream: driver.CUstream) -> None:
        assert n_bytes <= min(len(self.memory[to]), len(self.memory[source]))
        self.enqueue(lambda: ctypes.memmove(to, source, n_bytes))

    _cuMemcpyDtoHAsync = _cuMemcpyHtoDAsync

    def _cuStreamBeginCapture(self, stream: driver.CUstream, mode: driver.CUstreamCaptureMode) -> None:
        assert isinstance(mode, driver.CUstreamCaptureMode)
        self.captured = []

    def _cuStreamEndCapture(self, stream: driver.CUstream) -> list[Callable[[], None]]:
        recorded, self.captured = self.captured, None
        assert recorded
        return recorded

    def _cuGraphInstantiate(self, graph: list[Callable[[], None]], flags: int) -> list[Callable[[], None]]:
        return list(graph)

    def _cuGraphDestroy(self, graph: list[Callable[[], None]]) -> None:
        graph.clear()

    def _cuGraphLaunch(self, graph: list[Callable[[], None]], stream: driver.CUstream) -> None:
        self.queue.extend(graph)

    def _cuGraphExecDestroy(self, graph: list[Callable[[], None]]) -> None:
        graph.clear()


class Machine:
    """The driver, and the graph and range of slices that every engine on it is of."""

    def __init__(self, graph: Path, slices: tensorrt.Range) -> None:
        self.driver, self.slices = Driver(), slices
        self.session = onnxruntime.InferenceSession(str(graph))
        self.off = 0.0
        self.compiled = b"kernels"

    def builder(self, name: str) -> Builder:
        """A TensorRT that builds as the real `tensorrt_rtx` and runs here."""
        module = ModuleType(name)
        vars(module).update({key: value for key, value in vars(tensorrt_rtx).items() if not key.startswith("__")})
        module.__version__ = "10.9.0.1" if name == "tensorrt" else tensorrt_rtx.__version__  # type: ignore[attr-defined]
        module.Runtime = lambda log: Runtime(self, log)  # type: ignore[attr-defined]
        return Builder(module, [GPU.compute_capability])

    def install(self, monkeypatch: pytest.MonkeyPatch, name: str = "tensorrt_rtx") -> Builder:
        """Make it the GPU and the TensorRT that are found."""
        found = self.builder(name)
        monkeypatch.setattr(gpu, "compute_capability", lambda: GPU.compute_capability)
        monkeypatch.setattr(gpu, "require", lambda: GPU)
        monkeypatch.setattr(cuda, "_import", lambda: self.driver)
        monkeypatch.setattr(tensorrt, "find", lambda: found)
        return found


class Runtime(Checked):
    REAL = "Runtime"

    def _start(self, machine: Machine, log: Any) -> None:
        assert isinstance(log, tensorrt_rtx.ILogger)
        self._machine, self._log = machine, log

    def deserialize_cuda_engine(self, serialized_engine: bytes) -> Engine | None:
        if serialized_engine[1:4] == b"trt" or serialized_engine[:4] == b"vtrt":
            return Engine(self._machine)
        self._log.log(tensorrt_rtx.ILogger.ERROR, "not an engine")
        return None


class Engine(Checked):
    REAL = "ICudaEngine"

    def _start(self, machine: Machine) -> None:
        self._machine = machine
        self._inputs = {value.name: value.shape for value in machine.session.get_inputs()}
        self._names = [*self._inputs, *(value.name for value in machine.session.get_outputs())]

    @property
    def num_io_tensors(self) -> int:
        return len(self._names)

    def get_tensor_name(self, index: int) -> str:
        return self._names[index]

    def get_tensor_mode(self, name: str) -> tensorrt_rtx.TensorIOMode:
        return getattr(tensorrt_rtx.TensorIOMode, "INPUT" if name in self._inputs else "OUTPUT")

    def get_tensor_dtype(self, name: str) -> tensorrt_rtx.DataType:
        return TYPES.get(name, tensorrt_rtx.DataType.FLOAT)

    def get_tensor_profile_shape(self, name: str, profile_index: int) -> list[tuple[int, ...]]:
        most = self._machine.slices[2]
        return [tuple(most if isinstance(side, str) else side for side in self._inputs[name])] * 3

    def create_execution_context(self, runtime_config: RuntimeConfig | None = None) -> Context:
        return Context(self._machine, runtime_config)

    def create_runtime_config(self) -> RuntimeConfig:
        return RuntimeConfig(self._machine)

    def create_engine_inspector(self) -> Inspector:
        return Inspector()


class Inspector(Checked):
    REAL = "EngineInspector"

    def get_engine_information(self, format: tensorrt_rtx.LayerInformationFormat) -> str:  # noqa: A002
        return '{"Layers": []}'


class RuntimeCache(Checked):
    REAL = "IRuntimeCache"

    def _start(self, machine: Machine) -> None:
        self._machine = machine

    def serialize(self) -> bytes:
        return self._machine.compiled

    def deserialize(self, blob: bytes) -> bool:
        return blob == self._machine.compiled


class RuntimeConfig(Checked):
    REAL = "IRuntimeConfig"

    def _start(self, machine: Machine) -> None:
        self._machine = machine
        self._cache: RuntimeCache | None = None

    def create_runtime_cache(self) -> RuntimeCache:
        return RuntimeCache(self._machine)

    def set_runtime_cache(self, cache: RuntimeCache) -> bool:
        self._cache = cache
        return True


class Context(Checked):
    REAL = "IExecutionContext"

    def _start(self, machine: Machine, settings: RuntimeConfig | None) -> None:
        self._machine, self._settings = machine, settings
        self._shapes: dict[str, tuple[int, ...]] = {}
        self._places: dict[str, int] = {}
        self._prepared = False

    def set_tensor_address(self, name: str, memory: int) -> bool:
        self._places[name] = memory
        return True

    def set_input_shape(self, name: str, shape: tuple[int, ...]) -> bool:
        self._shapes[name], self._prepared = shape, False
        return max(shape[0], shape[1]) <= self._machine.slices[2]

    def infer_shapes(self) -> list[str]:
        return [value.name for value in self._machine.session.get_inputs() if value.name not in self._shapes]

    def get_tensor_shape(self, name: str) -> tuple[int, ...]:
        if name in self._shapes:
            return self._shapes[name]
        count = {"N": self._shapes["slices"][0], "B": self._shapes["membership"][0]}
        (found,) = [value for value in self._machine.session.get_outputs() if value.name == name]
        return tuple(count.get(side, side) for side in found.shape)

    def execute_async_v3(self, stream_handle: int) -> bool:
        assert stream_handle == 7
        device = self._machine.driver
        if device.captured is not None and not self._prepared:
            return False
        self._prepared = True
        shapes = {name: self.get_tensor_shape(name) for name in self._places}
        device.enqueue(lambda: self._compute(shapes))
        return True

    def _compute(self, shapes: dict[str, tuple[int, ...]]) -> None:
        def array(name: str) -> np.ndarray:
            kind = np.dtype(np.uint8 if name in TYPES else np.float32)
            room = (ctypes.c_char * (math.prod(shapes[name]) * kind.itemsize)).from_address(self._places[name])
            return np.frombuffer(room, kind).reshape(shapes[name])

        session = self._machine.session
        outputs = [value.name for value in session.get_outputs()]
        found = session.run(outputs, {value.name: array(value.name) for value in session.get_inputs()})
        for name, value in zip(outputs, found, strict=True):
            array(name)[...] = value + np.float32(self._machine.off)
