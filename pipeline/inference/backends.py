"""A release's graph in ONNX Runtime on the CPU."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnxruntime
from onnxruntime.capi import onnxruntime_pybind11_state as failures

from pipeline.contract import Precision
from pipeline.errors import EngineError
from pipeline.inference.answers import INPUTS, Answers, Floats, Slices, require_names

_CANNOT_LOAD = (
    failures.Fail,
    failures.InvalidArgument,
    failures.InvalidGraph,
    failures.InvalidProtobuf,
    failures.NoSuchFile,
    failures.NotImplemented,
)


class OnnxRuntime:
    """An ONNX file of the contract (`contract.Graph`) in ONNX Runtime.

    Attributes:
        name: with version and provider.
        providers: the execution providers that run, first choice first.
        size: see `answers.Backend`.
        outputs: see `answers.Backend`.
    """

    def __init__(self, path: Path, provider: str = "CPUExecutionProvider", precision: Precision = "fp32") -> None:
        """Load the graph.

        Args:
            path: the graph.
            provider: what is to run it.
            precision: of the graph: ONNX Runtime rounds as the file says, in any of its versions.

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
        self.name = f"ONNX Runtime {onnxruntime.__version__}, {provider}, {precision}"
        shapes = {value.name: value.shape for value in self._session.get_inputs()}
        self.outputs: dict[str, int] = {value.name: value.shape[1] for value in self._session.get_outputs()}
        require_names(path, list(shapes), list(self.outputs))
        self.size = int(shapes["slices"][-1])

    def run(self, slices: Slices, membership: Floats) -> Answers:
        """See `answers.Backend`."""
        found = self._session.run(
            list(self.outputs), dict(zip(INPUTS, (slices[:, np.newaxis], membership), strict=True))
        )
        return Answers(**dict(zip(self.outputs, found, strict=True)))
