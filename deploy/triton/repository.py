"""The folders of a Triton model repository: `MODEL/config.pbtxt` and `MODEL/1/` with the file that it serves.

The ONNX graph runs on the CPU, where it was validated: on a GPU ONNX Runtime would round products to TF32. A GPU is
served by a TensorRT engine, and only by one built for its compute capability; Triton loads no other.
"""

from __future__ import annotations

import re
import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from deploy.triton import config
from pipeline.contract import Engine, Manifest
from pipeline.errors import ContractError
from pipeline.files import write_text

#: The one version that a model has here; another release is another repository.
VERSION = "1"


@dataclass(frozen=True)
class Written:
    """What is in a repository, and what is not and why.

    Attributes:
        models: names of the models.
        left_out: a reason for each engine that Triton is not given.
    """

    models: list[str]
    left_out: list[str]


def write(manifest: Manifest, release: Path, out: Path, *, untried: bool = False) -> Written:
    """Write a model for the ONNX graph, and one for the TensorRT engines where there are any to serve.

    Args:
        manifest: of the release, which has been opened.
        release: its folder.
        out: the repository; models of other names in it stay.
        untried: whether to serve engines that no GPU has run.

    Raises:
        ContractError: the graph takes or gives something else than the contract says, or an engine is missing.
    """
    graph = release / Path(manifest.graph.file).name
    named = config.ports(graph)
    config.check(named, manifest)
    name = re.sub(r"[^A-Za-z0-9_-]+", "_", manifest.name)
    stated = config.parameters(manifest, "fp32")
    _model(out / name, [graph], config.text(name, "onnxruntime_onnx", named, "KIND_CPU", graph.name, stated))
    models, engines, left_out = [name], [], []
    for engine in manifest.engines:
        reason = _refused(engine, untried=untried)
        if reason is None:
            engines.append(engine)
        else:
            left_out.append(f"{engine.file}: {reason}")
    if engines:
        models.append(f"{name}_tensorrt")
        _engines(out / models[-1], engines, release, named, stated)
    return Written(models, left_out)


def _refused(engine: Engine, *, untried: bool) -> str | None:
    """Why Triton is not given an engine; None where it is."""
    if engine.builder != "tensorrt":
        return f"built by {engine.builder}, and Triton's backend loads engines of tensorrt alone"
    if not untried and engine.status == "built, not run":
        return "built, not run: no GPU has shown that it answers as the graph does (--untried-engines serves it)"
    return None


def _engines(
    folder: Path, engines: Sequence[Engine], release: Path, named: config.Ports, stated: dict[str, str]
) -> None:
    files = [release / Path(engine.file).name for engine in engines]
    for file in files:
        if not file.is_file():
            raise ContractError(f"{file.name} of the manifest in {release}", "no such file", "Copy the release again.")
    versions = sorted({f"{engine.builder} {engine.builder_version}" for engine in engines})
    of = {engine.compute_capability: file.name for engine, file in zip(engines, files, strict=True)}
    # An engine loads in the very version that built it: the server's container must have that one.
    stated = {**stated, "built_by": ", ".join(versions)}
    _model(folder, files, config.text(folder.name, "tensorrt_plan", named, "KIND_GPU", of, stated))


def _model(folder: Path, files: Sequence[Path], text: str) -> None:
    """One model's folder; what was there under its name is gone."""
    part = folder.with_name(f".{folder.name}.part")
    shutil.rmtree(part, ignore_errors=True)
    try:
        (part / VERSION).mkdir(parents=True)
        for file in files:
            shutil.copyfile(file, part / VERSION / file.name)
        write_text(part / "config.pbtxt", text)
        shutil.rmtree(folder, ignore_errors=True)
        part.rename(folder)
    finally:
        shutil.rmtree(part, ignore_errors=True)
