"""Stage `compile`: models/export/model.onnx -> models/engine/, TensorRT engines and compile.json."""

from __future__ import annotations

import time
from pathlib import Path

from pipeline.config import Params
from pipeline.contract import Engine
from pipeline.errors import EngineError
from pipeline.files import sha256_file, write_json
from pipeline.inference import tensorrt
from pipeline.progress import say, track
from pipeline.stages import runner

GRAPH = Path("models/export/model.onnx")
OUT = Path("models/engine")


def compile(params: Params) -> None:  # noqa: A001 - a stage's function has its stage's name
    """Build one engine per compute capability; without TensorRT say why there is none, where that is allowed.

    An engine's bytes differ from build to build; compile.json holds the hash of the one that is there.

    Raises:
        EngineError: no TensorRT is installed and `compile.required`, or a build failed.
    """
    engines: list[Engine] = []
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
        shown = track(wanted, f"compile: {builder.name} {builder.version}")
        engines = [_build(builder, capability, params) for capability in shown]
    record = {
        "engines": [engine.model_dump() for engine in engines],
        "onnx_sha256": sha256_file(GRAPH),
        "slices": dict(zip(("least", "usual", "most"), params.compile.slices, strict=True)),
        "reason": reason,
    }
    write_json(OUT / "compile.json", record)


def _build(builder: tensorrt.Builder, capability: str, params: Params) -> Engine:
    """One engine, with a line that says what it is and what it is not."""
    begin = time.monotonic()
    path = OUT / f"model.sm{capability.replace('.', '')}.engine"
    engine = tensorrt.build(builder, GRAPH, path, capability, params.compile.slices)
    megabytes = path.stat().st_size / 1e6
    say(f"compile: {path}, {megabytes:.1f} MB, {time.monotonic() - begin:.1f} s: {engine.status}")
    return engine


if __name__ == "__main__":
    runner.run("compile", compile)
