"""The folders of a Triton model repository: `MODEL/config.pbtxt` and `MODEL/1/` with the file that it serves.

The ONNX graph runs on the CPU, where it was validated: on a GPU ONNX Runtime would round products to TF32. A GPU is
served by a TensorRT engine, and only by one built for its compute capability; Triton loads no other.
"""

from __future__ import annotations

import re
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from deploy.triton import config
from pipeline.contract import Manifest
from pipeline.errors import ContractError
from pipeline.files import sha256_file, write_text
from pipeline.fingerprint import PASSED, REBUILD, Engine

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


def write(
    manifest: Manifest, release: Path, out: Path, kept: tuple[Engine, Path] | None = None, *, untried: bool = False
) -> Written:
    """Write a model for the ONNX graph, and one for the TensorRT engines where there are any to serve.

    Args:
        manifest: of the release, which has been opened.
        release: its folder.
        out: the repository; models of other names in it stay.
        kept: the engine that a box built of this release, and its file.
        untried: whether to serve engines of the release that no GPU has run.

    Raises:
        ContractError: the graph takes or gives something else than the contract says, or an engine is missing.
    """
    graph = release / Path(manifest.graph.file).name
    named = config.ports(graph)
    config.check(named, manifest)
    name = re.sub(r"[^A-Za-z0-9_-]+", "_", manifest.name)
    stated = config.parameters(manifest, "fp32")
    _model(
        out / name, {graph.name: graph}, config.text(name, "onnxruntime_onnx", named, "KIND_CPU", graph.name, stated)
    )
    engines = [] if kept is None else [kept]
    # A box's own comes last: of two for one compute capability it is the one that ran there.
    engines = [*((engine, release / Path(engine.file).name) for engine in manifest.engines), *engines]
    served, left_out = [], []
    for engine, file in engines:
        reason = _refused(engine, untried=untried)
        if reason is None:
            served.append((engine, file))
        else:
            left_out.append(f"{engine.file}: {reason}")
    models = [name]
    if served:
        models.append(f"{name}_tensorrt")
        _engines(out / models[-1], served, named, manifest)
    return Written(models, left_out)


def _refused(engine: Engine, *, untried: bool) -> str | None:
    """Why Triton is not given an engine; None where it is."""
    if engine.fingerprint.builder != "tensorrt":
        return f"built by {engine.fingerprint.builder}, and Triton loads engines of tensorrt alone"
    if not untried and engine.status != PASSED:
        return f"{engine.status}: build it where it is to run (`{REBUILD}`), and name that --state here"
    return None


def _engines(folder: Path, engines: Sequence[tuple[Engine, Path]], named: config.Ports, manifest: Manifest) -> None:
    """The model of the engines; each file under a name of its own, told by compute capability."""
    of: dict[str, str] = {}
    files: dict[str, Path] = {}
    for engine, file in engines:
        if not file.is_file() or sha256_file(file) != engine.sha256:
            raise ContractError(f"{file}, {engine.sha256[:12]}", "another one, or none", "Copy or build it again.")
        name = f"{engine.fingerprint.precision}.{engine.sha256[:12]}.plan"
        files[name] = file
        of |= dict.fromkeys(engine.fingerprint.compute_capabilities, name)
    used = {name: file for name, file in files.items() if name in of.values()}
    # An engine loads in the very version that built it: the server's container must have that one.
    by = {f"{engine.fingerprint.builder} {engine.fingerprint.builder_version}" for engine, _ in engines}
    precisions = {engine.fingerprint.precision for engine, _ in engines}
    stated = {**config.parameters(manifest, ", ".join(sorted(precisions))), "built_by": ", ".join(sorted(by))}
    _model(folder, used, config.text(folder.name, "tensorrt_plan", named, "KIND_GPU", of, stated))


def _model(folder: Path, files: Mapping[str, Path], text: str) -> None:
    """One model's folder; what was there under its name is gone."""
    part = folder.with_name(f".{folder.name}.part")
    shutil.rmtree(part, ignore_errors=True)
    try:
        (part / VERSION).mkdir(parents=True)
        for name, file in files.items():
            shutil.copyfile(file, part / VERSION / name)
        write_text(part / "config.pbtxt", text)
        shutil.rmtree(folder, ignore_errors=True)
        part.rename(folder)
    finally:
        shutil.rmtree(part, ignore_errors=True)
