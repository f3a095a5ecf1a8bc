"""What turns slices into logits on a box: ONNX Runtime on the CPU."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import numpy.typing as npt
import onnxruntime
from onnxruntime.capi import onnxruntime_pybind11_state as failures

from pipeline.errors import EngineError

#: Slices in one call; bounds memory on a box whatever the length of a series.
BATCH = 64

_CANNOT_LOAD = (
    failures.Fail,
    failures.InvalidArgument,
    failures.InvalidGraph,
    failures.InvalidProtobuf,
    failures.NoSuchFile,
    failures.NotImplemented,
)


def scaled(slices: npt.NDArray[np.uint8]) -> npt.NDArray[np.float32]:
    """uint8 (N, size, size) from `pipeline.imaging.prepare` as the network's float32 (N, 1, size, size) in 0..1."""
    return slices[:, np.newaxis].astype(np.float32) / np.float32(255)


class OnnxRuntime:
    """An ONNX file of the contract (`contract.Graph`) in ONNX Runtime.

    Attributes:
        providers: the execution providers that run, first choice first.
        size: height and width of its slices, in pixels.
        outputs: values that it gives for each slice, K or K + 1.
    """

    def __init__(self, path: Path, provider: str = "CPUExecutionProvider") -> None:
        """Load the graph.

        Raises:
            EngineError: the file is no graph that this ONNX Runtime runs, or `provider` is not what would run it (it
                falls back to another one with no more than a warning).
        """
        available = onnxruntime.get_available_providers()
        if provider not in available:
            raise EngineError(
                f"ONNX Runtime with {provider}", f"one with {', '.join(available)}", "Install the matching onnxruntime."
            )
        options = onnxruntime.SessionOptions()
        options.log_severity_level = 3
        try:
            self._session = onnxruntime.InferenceSession(str(path), options, providers=[provider])
        except _CANNOT_LOAD as error:
            raise EngineError(
                f"an ONNX graph in {path}",
                str(error).strip().splitlines()[0],
                "Copy the release again, whole, or install the onnxruntime of constraints.txt.",
            ) from error
        self.providers: list[str] = self._session.get_providers()
        if self.providers[0] != provider:
            raise EngineError(
                f"{provider} to run {path}", f"{self.providers[0]}", "See that the provider's libraries are installed."
            )
        (self._input,), (self._output,) = self._session.get_inputs(), self._session.get_outputs()
        self.size = int(self._input.shape[-1])
        self.outputs = int(self._output.shape[-1])

    def run(self, slices: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
        """The graph's rows, float32 (N, K or K + 1), of float32 (N, 1, size, size) slices in 0..1, in one call."""
        (logits,) = self._session.run([self._output.name], {self._input.name: slices})
        return np.asarray(logits, dtype=np.float32)

    def rows(self, slices: npt.NDArray[np.uint8]) -> npt.NDArray[np.float32]:
        """Rows of uint8 (N, size, size) slices, `BATCH` at a time."""
        parts = [self.run(scaled(slices[begin : begin + BATCH])) for begin in range(0, len(slices), BATCH)]
        return np.concatenate(parts)
