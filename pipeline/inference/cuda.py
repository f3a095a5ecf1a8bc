"""A GPU through CUDA's driver API (`cuda-bindings`): one stream, buffers on both sides, and a captured graph."""

from __future__ import annotations

import ctypes
import importlib
from types import ModuleType
from typing import Any

import numpy as np
import numpy.typing as npt

from pipeline.errors import EngineError
from pipeline.inference import gpu


class Device:
    """The first GPU, with one stream on which everything runs in order.

    Attributes:
        gpu: which one it is.
        stream: its handle.
    """

    def __init__(self) -> None:
        """Make the GPU's primary context current.

        Raises:
            EngineError: no driver, no GPU, no `cuda-bindings`, or the driver refuses.
        """
        self.gpu = gpu.require()
        self._buffers: list[Buffer] = []
        self._driver = _import()
        self._do("cuInit", 0)
        self._device = self._do("cuDeviceGet", 0)
        self._context = self._do("cuDevicePrimaryCtxRetain", self._device)
        self.activate()
        self.stream = self._do("cuStreamCreate", int(self._driver.CUstream_flags.CU_STREAM_NON_BLOCKING))

    def activate(self) -> None:
        """Make its context that of the calling thread."""
        self._do("cuCtxSetCurrent", self._context)

    def buffer(self, n_bytes: int) -> Buffer:
        """Room for `n_bytes` on the GPU and as many in page-locked memory."""
        n_bytes = max(n_bytes, 1)
        made = Buffer(int(self._do("cuMemAlloc", n_bytes)), int(self._do("cuMemAllocHost", n_bytes)), n_bytes)
        self._buffers.append(made)
        return made

    def send(self, buffer: Buffer, n_bytes: int) -> None:
        """Queue a copy of the buffer's beginning to the GPU."""
        self._do("cuMemcpyHtoDAsync", buffer.device, buffer.host, n_bytes, self.stream)

    def fetch(self, buffer: Buffer, n_bytes: int) -> None:
        """Queue a copy of the buffer's beginning from the GPU."""
        self._do("cuMemcpyDtoHAsync", buffer.host, buffer.device, n_bytes, self.stream)

    def wait(self) -> None:
        """Until everything that was queued is done."""
        self._do("cuStreamSynchronize", self.stream)

    def begin_capture(self) -> None:
        """Record what is queued from now on, in place of running it."""
        mode = self._driver.CUstreamCaptureMode.CU_STREAM_CAPTURE_MODE_THREAD_LOCAL
        self._do("cuStreamBeginCapture", self.stream, mode)

    def end_capture(self) -> Any:
        """What was recorded, ready to be launched."""
        graph = self._do("cuStreamEndCapture", self.stream)
        launchable = self._do("cuGraphInstantiate", graph, 0)
        self._do("cuGraphDestroy", graph)
        return launchable

    def launch(self, recorded: Any) -> None:
        """Queue what was recorded."""
        self._do("cuGraphLaunch", recorded, self.stream)

    def forget(self, recorded: Any) -> None:
        """Give back what a recording takes."""
        self._do("cuGraphExecDestroy", recorded)

    def close(self) -> None:
        """Give buffers, stream and context back."""
        self.activate()
        for buffer in self._buffers:
            self._do("cuMemFree", buffer.device)
            self._do("cuMemFreeHost", buffer.host)
        self._buffers.clear()
        self._do("cuStreamDestroy", self.stream)
        self._do("cuDevicePrimaryCtxRelease", self._device)

    def _do(self, call: str, *values: Any) -> Any:
        """A call of the driver, and what it gives.

        Raises:
            EngineError: the driver refuses it.
        """
        code, *found = getattr(self._driver, call)(*values)
        if code != self._driver.CUresult.CUDA_SUCCESS:
            raise EngineError(
                f"{call} to work on {self.gpu.name}",
                str(getattr(code, "name", code)),
                "See that `nvidia-smi` shows a healthy GPU with free memory, and run the same command again.",
            )
        return found[0] if found else None


class Buffer:
    """The same bytes on the GPU and in page-locked memory of the host.

    Attributes:
        device, host: their addresses.
        n_bytes: of each.
    """

    def __init__(self, device: int, host: int, n_bytes: int) -> None:
        self.device, self.host, self.n_bytes = device, host, n_bytes

    def view(self, dtype: npt.DTypeLike, shape: tuple[int, ...]) -> npt.NDArray[Any]:
        """The beginning of the host's side as an array; it is the memory itself."""
        count = int(np.prod(shape)) * np.dtype(dtype).itemsize
        memory = (ctypes.c_char * count).from_address(self.host)
        return np.frombuffer(memoryview(memory), dtype=dtype).reshape(shape)


def _import() -> ModuleType:
    try:
        return importlib.import_module("cuda.bindings.driver")
    except ImportError as error:
        raise EngineError("the package cuda-bindings", str(error), "`pip install cuda-bindings`") from error
