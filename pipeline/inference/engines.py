"""An engine from a release's graph, run on its own GPU before anything may use it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pipeline.errors import EngineError, PipelineError
from pipeline.files import sha256_file, write_text
from pipeline.fingerprint import NOT_RUN, PASSED, Engine, Fingerprint, Here, ParityCases, Precision, Provenance
from pipeline.inference import cases as parity
from pipeline.inference import gpu, tensorrt
from pipeline.inference.cases import Case
from pipeline.inference.tensorrt import Options, Range
from pipeline.inference.tensorrt_run import TensorRt
from pipeline.progress import say


@dataclass(frozen=True)
class Model:
    """What an engine is made of, and what it must answer.

    Attributes:
        graph: the ONNX file, in `precision`.
        precision: of its trunk.
        transform_sha256: of the preprocessing, see `fingerprint.sha256_of`.
        provenance: of its weights.
        cases: of the release.
        limits: what is kept to on them.
        threshold: of the release's decision.
    """

    graph: Path
    precision: Precision
    transform_sha256: str
    provenance: Provenance
    cases: Sequence[Case]
    limits: ParityCases
    threshold: float | list[float] | None

    @property
    def identity(self) -> dict[str, Any]:
        """What an engine's fingerprint says of its model."""
        return {
            "onnx_sha256": sha256_file(self.graph),
            "transform_sha256": self.transform_sha256,
            "provenance": self.provenance,
        }


def make(
    builder: tensorrt.Builder, model: Model, out: Path, capabilities: list[str], slices: Range, how: Options
) -> tuple[Engine, dict[str, Any] | None]:
    """Build an engine, and where this machine has a GPU that it is for, run the parity cases on it.

    What its inspector says of its layers then lies beside it, as `<name>.layers.json`.

    Returns:
        The engine, and how it did on the cases; None where no GPU ran it, as its status says.

    Raises:
        EngineError: it cannot be built, computes in another precision, or answers otherwise; `out` is then not there.
    """
    built = tensorrt.build(builder, model.graph, out, capabilities, slices, how)
    runs = gpu.compute_capability() in capabilities
    try:
        if built.precision != model.precision:
            raise EngineError(
                f"an engine in {model.precision} from {model.graph.name}",
                f"one in {built.precision}",
                "Export the graph anew: `dvc repro export`.",
            )
        report = _run(out, builder, model) if runs else None
    except PipelineError:
        for path in (out, *_beside(out)):
            path.unlink(missing_ok=True)
        raise
    engine = Engine(
        file=built.file,
        sha256=built.sha256,
        fingerprint=_fingerprint(builder, model, capabilities, gpu.require() if runs else None),
        slices=slices,
        version_compatible=how.version_compatible,
        hardware_compatible=how.hardware_compatible,
        status=PASSED if runs else NOT_RUN,
    )
    return engine, report


def _fingerprint(
    builder: tensorrt.Builder, model: Model, capabilities: list[str], machine: gpu.Gpu | None
) -> Fingerprint:
    return Fingerprint(
        builder="tensorrt_rtx" if builder.ahead_of_time else "tensorrt",
        builder_version=builder.version,
        compute_capabilities=capabilities,
        gpu=None if machine is None else machine.name,
        driver=None if machine is None else machine.driver,
        precision=model.precision,
        **model.identity,
    )


def here(builder: tensorrt.Builder) -> Here:
    """This machine, as a fingerprint is compared with it.

    Raises:
        EngineError: it has no GPU, or no driver.
    """
    machine = gpu.require()
    return Here(
        builder=builder.name,
        builder_version=builder.version,
        compute_capability=machine.compute_capability,
        gpu=machine.name,
        driver=machine.driver,
    )


def _run(out: Path, builder: tensorrt.Builder, model: Model) -> dict[str, Any]:
    """How the engine does on the cases."""
    backend = TensorRt(out, builder, model.precision)
    try:
        report = parity.check(backend, model.cases, model.precision, model.limits, model.threshold)
        write_text(_beside(out)[0], backend.inspect())
    finally:
        backend.close()
    say(f"{out.name}: {backend.name}: parity passed on {report['cases']} cases")
    return report


def _beside(out: Path) -> list[Path]:
    """What is kept with an engine: its inspector's word, and what the runtime compiled."""
    return [out.with_suffix(".layers.json"), out.with_suffix(".kernels")]
