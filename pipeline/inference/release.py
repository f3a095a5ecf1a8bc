"""A release folder, opened: whole, of a known maker where a key is given, and with the graph that runs loaded."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from pipeline import contract
from pipeline.contract import Precision, Runs
from pipeline.errors import ContractError, EngineError
from pipeline.files import sha256_file
from pipeline.inference import cases, signature
from pipeline.inference.answers import Backend
from pipeline.inference.runtimes import PLAIN, graph_of, start
from pipeline.targets import Targets


@dataclass(frozen=True)
class Release:
    """What it takes to answer for a scan.

    Attributes:
        manifest: the contract.
        backend: its graph, loaded.
        targets: what its answers mean.
        verified: whether the caller's public key vouches for it.
    """

    manifest: contract.Manifest
    backend: Backend
    targets: Targets
    verified: bool


def open_release(folder: Path, public_key: Path | None = None, plain: bool = False) -> Release:
    """Check checksums, and the signature where a key is given, then the contract against the graph; load it and try it.

    Args:
        folder: of the release.
        public_key: its maker's; None: nobody vouches for it.
        plain: run fp32 in ONNX Runtime, whatever the contract says.

    Raises:
        ContractError: a file is missing, added or changed, the signature does not fit, or graph and contract differ.
        EngineError: this machine cannot run the graph as the contract says, or gets other answers by it.
    """
    if public_key is None:
        signature.check_sums(folder)
    else:
        signature.verify(folder, public_key)
    manifest = contract.load(folder)
    backend = _start(_graphs(folder, manifest.graph), PLAIN if plain else manifest.runs)
    if backend.size != manifest.transform.size:
        raise ContractError(
            f"a graph of {manifest.transform.size} pixels, as the manifest prepares",
            f"one of {backend.size}",
            "The release was put together wrongly; ask its maker.",
        )
    targets = Targets(manifest.task.kind, tuple(manifest.task.classes))
    found = (backend.outputs["probabilities"], list(backend.outputs))
    if found != (targets.outputs, manifest.graph.outputs):
        raise ContractError(
            f"the manifest's graph, {', '.join(manifest.graph.outputs)} of {targets.outputs} values",
            f"one with {', '.join(found[1])} of {found[0]}",
            "The release was put together wrongly; ask its maker.",
        )
    if not plain:
        _require_answers(folder, manifest, backend)
    return Release(manifest, backend, targets, verified=public_key is not None)


def _require_answers(folder: Path, manifest: contract.Manifest, backend: Backend) -> None:
    """Processors differ in how they multiply what is not fp32, and may differ by more than rounding."""
    told = manifest.answers
    if told is None:
        return
    try:
        cases.check(
            backend, cases.read(folder / told.file), manifest.runs.precision, told, manifest.calibration.threshold
        )
    except EngineError as error:
        raise EngineError(
            error.expected,
            f"{error.found}; so said by {backend.name} on this machine, and otherwise where it was made",
            "fp32 in ONNX Runtime is alike everywhere: `python -m pipeline.inference` has `--precision fp32`. A box or "
            "a flow needs a release of export.precision.rungs: [onnxruntime fp32], or an engine of the box's GPU.",
        ) from error


def _graphs(folder: Path, graph: contract.Graph) -> dict[Precision, Path]:
    """The files of the graph by their precision.

    Raises:
        ContractError: one is not what the contract says.
    """
    files: dict[Precision, Path] = {}
    for precision, (name, sha256) in graph.files.items():
        path = folder / Path(name).name
        if not path.is_file() or sha256_file(path) != sha256:
            raise ContractError(
                f"the manifest's graph, {sha256[:12]}", f"another {path.name}", "Copy the release again."
            )
        files[precision] = path
    return files


def _start(files: dict[Precision, Path], runs: Runs) -> Backend:
    """What the contract says, or an error: another precision was validated, or none."""
    if graph_of(runs) not in files:
        raise ContractError(
            f"a graph that runs in {runs.precision}, as the manifest says",
            f"graphs in {', '.join(files)}",
            "The release was put together wrongly; ask its maker.",
        )
    try:
        return start(files, runs)
    except EngineError as error:
        if runs == PLAIN:
            raise
        raise EngineError(
            error.expected,
            error.found,
            f"Install the {runs.runtime} of constraints.txt, or say `--precision fp32`: ONNX Runtime then answers, "
            "slower and as the fp32 of the model card does.",
        ) from error
