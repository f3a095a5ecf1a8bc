"""What runs a release's graphs on a CPU: which file a runtime reads for which precision."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from pipeline.contract import Precision, Runs
from pipeline.errors import EngineError
from pipeline.inference.answers import Backend
from pipeline.inference.backends import OnnxRuntime
from pipeline.inference.openvino import OpenVino

#: Every machine runs it, and all else is compared with it.
PLAIN = Runs(runtime="onnxruntime", precision="fp32")


def graph_of(runs: Runs) -> Precision:
    """The precision of the file that is read: OpenVINO makes bf16 and fp16 of what is in float by itself."""
    if runs.precision == "int8+bf16":
        return "int8"
    by_itself = runs.runtime == "openvino" and runs.precision in ("bf16", "fp16")
    return "fp32" if by_itself else runs.precision


def start(files: Mapping[Precision, Path], runs: Runs) -> Backend:
    """The graph, loaded as asked.

    Args:
        files: the graph in each precision that it is there in.
        runs: how it is to be run.

    Raises:
        EngineError: there is no such graph, the runtime cannot load it, or this machine runs it in another precision.
    """
    precision = graph_of(runs)
    if precision not in files:
        raise EngineError(
            f"a graph in {precision} to run in {runs.runtime}", f"those in {', '.join(files)}", "Choose one of these."
        )
    if runs.runtime == "openvino":
        return OpenVino(files[precision], runs.precision)
    return OnnxRuntime(files[precision], precision=precision)
