"""The ways to run a network that the benchmark of inference compares, each in a process of its own.

Processes so that the peak of memory is that of one way, and none shares threads, allocators or caches with another; one
at a time works, the others wait for the next question.
"""

from __future__ import annotations

import multiprocessing
import os
import re
import time
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

Slices = npt.NDArray[np.uint8]
#: Slices that are units by themselves, uint8 (N, size, size), to probabilities (N, K).
Run = Callable[[Slices], npt.NDArray[np.float32]]
#: Slices in a call at most, where an engine must know it.
MOST = 64
NO_GPU = "no NVIDIA GPU"


@dataclass(frozen=True)
class Files:
    """One network, as each way takes it.

    Attributes:
        graphs: ONNX, by precision.
        make: the name of the function of `networks` that makes the PyTorch network, and its arguments.
        threads: of whatever runs it.
    """

    graphs: dict[str, Path]
    make: tuple[Any, ...]
    threads: int


def _torch(files: Files, device: str, *, compiled: bool) -> Run:
    import torch

    from tests.benchmarks.inference import networks

    if device == "cuda" and not torch.cuda.is_available():
        raise RuntimeError(NO_GPU)
    torch.set_num_threads(files.threads)
    network = networks.network(*files.make).eval().to(device)
    if compiled:
        # A kernel for each number of slices, as the others have; the first call of each compiles.
        network = torch.compile(network, dynamic=False)

    def run(slices: Slices) -> npt.NDArray[np.float32]:
        with torch.inference_mode():
            given = torch.from_numpy(slices[:, None]).to(device), torch.eye(len(slices), device=device)
            found: npt.NDArray[np.float32] = network(*given)[0].cpu().numpy()
        return found

    return run


def _backend(backend: Any) -> Run:
    from pipeline.inference.answers import each

    return lambda slices: backend.run(slices, each(len(slices))).probabilities


def _onnxruntime(files: Files, precision: str) -> Run:
    import onnxruntime

    from pipeline.inference.backends import OnnxRuntime

    original = onnxruntime.SessionOptions

    def options() -> Any:
        """The backend's, but for the number of threads, which a box leaves to ONNX Runtime."""
        made = original()
        made.intra_op_num_threads = files.threads
        return made

    onnxruntime.SessionOptions = options
    return _backend(OnnxRuntime(files.graphs[precision]))


def _openvino(files: Files, precision: Any) -> Run:
    from pipeline.inference.openvino import OpenVino

    return _backend(OpenVino(files.graphs["int8" if "int8" in precision else "fp32"], precision, files.threads))


def _tensorrt(files: Files, precision: Any) -> Run:
    from pipeline.inference import gpu, tensorrt
    from pipeline.inference.tensorrt_run import TensorRt

    own = gpu.compute_capability()
    if own is None:
        raise RuntimeError(NO_GPU)
    builder = tensorrt.find()
    if own not in builder.capabilities:
        raise RuntimeError(f"{builder.name} {builder.version} does not build for this GPU ({own})")
    out = files.graphs[precision].with_suffix(".engine")
    tensorrt.build(builder, files.graphs[precision], out, own, (1, 24, MOST), tensorrt.Options(alone=True))
    return _backend(TensorRt(out, builder, precision))


#: By name, in the order of the table; the first is what the others are compared with.
WAYS: dict[str, Callable[[Files], Run]] = {
    "PyTorch eager": lambda files: _torch(files, "cpu", compiled=False),
    "torch.compile": lambda files: _torch(files, "cpu", compiled=True),
    "ONNX Runtime fp32": lambda files: _onnxruntime(files, "fp32"),
    "ONNX Runtime int8": lambda files: _onnxruntime(files, "int8"),
    "OpenVINO fp32": lambda files: _openvino(files, "fp32"),
    "OpenVINO bf16": lambda files: _openvino(files, "bf16"),
    "OpenVINO int8": lambda files: _openvino(files, "int8"),
    "OpenVINO int8+bf16": lambda files: _openvino(files, "int8+bf16"),
    "PyTorch eager, GPU": lambda files: _torch(files, "cuda", compiled=False),
    "torch.compile, GPU": lambda files: _torch(files, "cuda", compiled=True),
    "TensorRT fp32": lambda files: _tensorrt(files, "fp32"),
    "TensorRT fp16": lambda files: _tensorrt(files, "fp16"),
    "TensorRT bf16": lambda files: _tensorrt(files, "bf16"),
    "TensorRT int8": lambda files: _tensorrt(files, "int8"),
}


@dataclass(frozen=True)
class Turn:
    """What a way says of some calls.

    Attributes:
        seconds: of each.
        probabilities: (N, K), of the last.
        peak: most bytes that its process ever held in this turn.
    """

    seconds: list[float]
    probabilities: npt.NDArray[np.float32]
    peak: int


class Worker:
    """A process that runs one way of one network when it is asked.

    Attributes:
        refused: why it cannot, in words; None where it can. Known once it was waited for.
    """

    def __init__(self, way: str, files: Files) -> None:
        context = multiprocessing.get_context("spawn")
        self._pipe, theirs = context.Pipe()
        self._process = context.Process(target=_serve, args=(theirs, way, files), daemon=True)
        self._process.start()
        theirs.close()
        self.refused: str | None = None

    def wait(self) -> None:
        """See it loaded, and one slice answered."""
        self.refused = self._pipe.recv()

    def turn(self, slices: Slices, warm: int, calls: int, limit_s: float) -> Turn:
        """Run it `warm` times, and then `calls` times or until `limit_s` are over, with the clock."""
        self._pipe.send((slices, warm, calls, limit_s))
        found = self._pipe.recv()
        if isinstance(found, str):
            raise RuntimeError(found)
        turn: Turn = found
        return turn

    def close(self) -> None:
        """End the process."""
        self._pipe.close()
        self._process.join(10)
        if self._process.is_alive():
            self._process.kill()


def _serve(pipe: Connection, way: str, files: Files) -> None:
    """Answer turns until the other side hangs up; what goes wrong is said there."""
    for name in ("OMP_NUM_THREADS", "MKL_NUM_THREADS"):
        os.environ[name] = str(files.threads)
    warnings.simplefilter("ignore")
    try:
        run = WAYS[way](files)
        run(np.zeros((1, *_side(files)), np.uint8))
    except Exception as error:  # noqa: BLE001  a way that this machine does not go is a line of the table
        pipe.send(f"{type(error).__name__}: {' '.join(str(error).split())[:200]}")
        return
    pipe.send(None)
    while True:
        try:
            slices, warm, calls, limit_s = pipe.recv()
        except EOFError:
            return
        try:
            pipe.send(_turn(run, slices, warm, calls, limit_s))
        except Exception as error:  # noqa: BLE001  said where it was asked
            pipe.send(f"{type(error).__name__}: {' '.join(str(error).split())[:200]}")


def _side(files: Files) -> tuple[int, int]:
    size = int(files.make[-1])
    return size, size


def _turn(run: Run, slices: Slices, warm: int, calls: int, limit_s: float) -> Turn:
    # From here on the kernel counts the peak anew.
    Path("/proc/self/clear_refs").write_text("5")
    for _ in range(warm):
        found = run(slices)
    seconds: list[float] = []
    while len(seconds) < calls and (not seconds or sum(seconds) < limit_s):
        begin = time.perf_counter()
        found = run(slices)
        seconds.append(time.perf_counter() - begin)
    kilobytes = re.search(r"VmHWM:\s+(\d+)", Path("/proc/self/status").read_text())
    assert kilobytes is not None
    return Turn(seconds, np.array(found), 1024 * int(kilobytes[1]))
