"""A release's graph in OpenVINO, in the precision that was asked for and no other."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np

from pipeline.errors import EngineError
from pipeline.inference.answers import Answers, Floats, Slices, require_names

#: What OpenVINO is asked for: the type of what is in float. In int8 that is fp32, so that only the roundings of the
#: quantised graph tell it from fp32.
_HINTS = {"fp32": "f32", "bf16": "bf16", "fp16": "f16", "int8": "f32", "int8+bf16": "bf16"}
#: What its layers then say that they run in: one of these, and none in anything but them and what was asked for.
_RUNS_IN = {"fp32": {"f32"}, "bf16": {"bf16"}, "fp16": {"f16"}, "int8": {"i8", "u8"}, "int8+bf16": {"i8", "u8"}}
#: The layers that take the time, by the names of OpenVINO's runtime.
_HEAVY = ("Convolution", "FullyConnected", "MatMul")


class OpenVino:
    """An ONNX file of the contract (`contract.Graph`) in OpenVINO on the CPU.

    Attributes:
        name: with version and precision.
        precisions: of the layers that take the time, how many run in which, by OpenVINO's own account.
        size: see `answers.Backend`.
        outputs: see `answers.Backend`.
    """

    def __init__(self, path: Path, precision: str = "fp32", threads: int | None = None) -> None:
        """Load the graph; it asks for the least delay of one call.

        Args:
            path: the graph; for int8 the quantised one.
            precision: of its convolutions, see `contract.Runs`.
            threads: None: one a core.

        Raises:
            EngineError: OpenVINO is not installed, cannot read the file, or runs it in another precision (the
                processor has no such instructions, or the graph is another one).
        """
        ov = _import()
        settings: dict[str, Any] = {"INFERENCE_PRECISION_HINT": _HINTS[precision], "PERFORMANCE_HINT": "LATENCY"}
        if threads is not None:
            settings["INFERENCE_NUM_THREADS"] = threads
        try:
            compiled = ov.Core().compile_model(str(path), "CPU", settings)
        except RuntimeError as error:
            raise EngineError(
                f"an ONNX graph in {path} that OpenVINO runs",
                str(error).strip().splitlines()[-1],
                "Copy the release again, whole, or install the openvino of constraints.txt.",
            ) from error
        self.precisions = _precisions(compiled)
        own, found = _RUNS_IN[precision], self.precisions.keys()
        if not own & found or found - own - {"f32", _HINTS[precision]}:
            raise EngineError(
                f"{path} run in {precision} on this processor",
                f"layers that run in {', '.join(sorted(self.precisions)) or 'none'}",
                "Choose another precision: a fallback would give other numbers, or other times, than were validated.",
            )
        self.name = f"OpenVINO {ov.__version__.partition('-')[0]}, CPU, {precision}"
        inputs = {port.any_name: port.partial_shape for port in compiled.inputs}
        require_names(path, list(inputs), [port.any_name for port in compiled.outputs])
        self.outputs = {port.any_name: port.partial_shape[1].get_length() for port in compiled.outputs}
        self.size = int(inputs["slices"][-1].get_length())
        self._request = compiled.create_infer_request()

    def run(self, slices: Slices, membership: Floats) -> Answers:
        """See `answers.Backend`."""
        self._request.infer({"slices": slices[:, np.newaxis], "membership": membership})
        # Copied: the tensors belong to the request, and its next call writes into them.
        return Answers(**{name: self._request.get_tensor(name).data.copy() for name in self.outputs})


def _import() -> Any:
    try:
        import openvino
    except ImportError as error:
        raise EngineError(
            "OpenVINO", str(error), "Install what constraints.txt names: `pip install openvino`."
        ) from error
    return openvino


def _precisions(compiled: Any) -> Counter[str]:
    """Precisions of the heavy layers in the graph that really runs."""
    found: Counter[str] = Counter()
    for layer in compiled.get_runtime_model().get_ops():
        told = {key: str(getattr(value, "value", value)) for key, value in layer.get_rt_info().items()}
        if told.get("layerType") in _HEAVY:
            found[told["runtimePrecision"]] += 1
    return found
