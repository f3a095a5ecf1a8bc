"""Stage `compile`: models/export -> models/engine/, TensorRT engines, parity cases and compile.json."""

from __future__ import annotations

import hashlib
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from pipeline.calibrator import Calibration
from pipeline.clinical import calibration
from pipeline.code import git_revision
from pipeline.config import Params
from pipeline.contract import Runs
from pipeline.engine import simulated
from pipeline.errors import EngineError
from pipeline.files import read_csv, read_json, sha256_file, write_json
from pipeline.fingerprint import Engine, ParityCases, Precision, Provenance, sha256_of
from pipeline.inference import cases, engines, tensorrt
from pipeline.inference.backends import OnnxRuntime
from pipeline.inference.neighbours import BATCH
from pipeline.inference.runtimes import PLAIN, start
from pipeline.progress import say, track
from pipeline.stages import runner

EXPORT, CALIBRATION = Path("models/export"), Path("models/calibration.json")
INGESTED, PREPARED = Path("data/ingested"), Path("data/prepared/slices.csv")
OUT = Path("models/engine")
#: Of an fp32 engine's outputs, of values beyond 1 as a share of them: TensorRT adds up in another order.
TOLERANCE = 1e-3


def compile(params: Params) -> None:  # noqa: A001 - a stage's function has its stage's name
    """Build one engine per compute capability; without TensorRT say why there is none, where that is allowed.

    Where a GPU is there the engine is for it, and runs the parity cases. An engine's bytes differ from build to build;
    compile.json holds the hash of the one that is there, and the git revision that built it.

    Raises:
        ContractError: the calibration was changed.
        EngineError: no TensorRT is installed and `compile.required`; a build failed; the engine answers otherwise than
            the graph; patients do not allow the precision that is asked for; or this machine cannot run what they do.
    """
    fixed = calibration.unchanged(CALIBRATION)
    slices = params.compile.slices or usual_range(params)
    model = _model(params, fixed, slices)
    built: list[tuple[Engine, dict[str, Any] | None]] = []
    reason = None
    try:
        builder = tensorrt.find()
    except EngineError as error:
        if params.compile.required:
            raise
        reason = f"no engine was built: {error.found}"
        say(f"compile: {reason}")
    else:
        wanted = tensorrt.targets(builder, params.compile.compute_capabilities)
        together = params.compile.hardware_compatible and builder.ahead_of_time
        groups = [wanted] if together else [[capability] for capability in wanted]
        shown = track(groups, f"compile: {builder.name} {builder.version}")
        built = [_build(builder, group, params, model, slices) for group in shown]
    record = {
        "engines": [engine.model_dump() for engine, _ in built],
        "parity": {engine.file: report for engine, report in built if report is not None},
        "onnx_sha256": sha256_file(EXPORT / "model.onnx"),
        "cases": model.limits.model_dump(),
        "answers": _answers(model),
        "provenance": model.provenance.model_dump(),
        "slices": dict(zip(("least", "usual", "most"), slices, strict=True)),
        "reason": reason,
    }
    write_json(OUT / "compile.json", record)


def usual_range(params: Params) -> tensorrt.Range:
    """Least, usual and most slices in one call by the units that were prepared.

    A box may be sent one slice; and twice as many as any unit had, so that a longer series is answered, too.
    """
    if params.data.label_level == "slice":
        return 1, BATCH, BATCH
    rows = read_csv(PREPARED)
    _, counts = np.unique([row["unit"] for row in rows], return_counts=True)
    return 1, int(np.median(counts)), max(BATCH, 2 * int(counts.max()))


def precision(asked: Precision | None) -> Precision:
    """The precision of the engine's graph: fp16 where validation patients allow it, unless another is asked for.

    Raises:
        EngineError: they do not allow the one that is asked for.
    """
    allowed: list[Precision] = ["fp32", *read_json(EXPORT / "ladder.json")["released"]]
    if asked is None:
        return "fp16" if "fp16" in allowed else "fp32"
    if asked not in allowed:
        raise EngineError(
            f"compile.precision that validation patients allow: {', '.join(allowed)}",
            asked,
            "Change it in params.yaml; models/export/ladder.json says what each precision changed.",
        )
    return asked


def _model(params: Params, fixed: Calibration, slices: tensorrt.Range) -> engines.Model:
    """What the engines are made of, with the parity cases, which are written."""
    reference = OnnxRuntime(EXPORT / "model.onnx")
    shown = simulated.slices(params.demo, params.seed, params.prepare)
    asked = simulated.calls(len(shown), slices[1], slices[2], params.data.label_level == "slice")
    made = cases.answered(reference, shown, asked)
    path = OUT / "parity.npz"
    cases.write(path, made)
    kind = precision(params.compile.precision)
    limits = ParityCases(sha256=sha256_file(path), tolerance=TOLERANCE, band=params.export.precision.band)
    tables = "".join(sha256_file(INGESTED / name) for name in ("index.csv", "labels.csv"))
    return engines.Model(
        graph=EXPORT / ("model.onnx" if kind == "fp32" else f"model_{kind}.onnx"),
        precision=kind,
        transform_sha256=sha256_of(params.prepare),
        provenance=Provenance(
            weights_sha256=fixed.model_sha256,
            data_sha256=hashlib.sha256(tables.encode()).hexdigest(),
            git_revision=git_revision(),
        ),
        cases=made,
        limits=limits,
        threshold=fixed.threshold,
    )


def _answers(model: engines.Model) -> dict[str, Any] | None:
    """What the way that runs on CPUs says of the parity cases here; None of the one that all else is compared with."""
    climbed = read_json(EXPORT / "ladder.json")
    runs = Runs.model_validate(climbed["runs"])
    if runs == PLAIN:
        return None
    backend = start({name: EXPORT / made["file"] for name, made in climbed["graphs"].items()}, runs)
    path = OUT / "runs.npz"
    cases.write(path, [replace(case, expected=backend.run(case.slices, case.membership)) for case in model.cases])
    return model.limits.model_copy(update={"file": path.name, "sha256": sha256_file(path)}).model_dump()


def _build(
    builder: tensorrt.Builder, group: list[str], params: Params, model: engines.Model, slices: tensorrt.Range
) -> tuple[Engine, dict[str, Any] | None]:
    """One engine, with a line that says what it is and what it is not."""
    begin = time.monotonic()
    path = OUT / f"model.{'.'.join('sm' + capability.replace('.', '') for capability in group)}.engine"
    how = tensorrt.Options(
        version_compatible=params.compile.version_compatible,
        hardware_compatible=params.compile.hardware_compatible,
        alone=params.data.label_level == "slice",
        cache=params.cache("tensorrt"),
    )
    engine, report = engines.make(builder, model, path, group, slices, how)
    megabytes = path.stat().st_size / 1e6
    took = time.monotonic() - begin
    say(f"compile: {path}, {model.precision}, {megabytes:.1f} MB, {took:.1f} s: {engine.status}")
    return engine, report


if __name__ == "__main__":
    runner.run("compile", compile)
