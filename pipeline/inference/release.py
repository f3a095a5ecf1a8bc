"""A release folder, opened: whole, of a known maker where a key is given, and with its graph loaded."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from pipeline import contract
from pipeline.errors import ContractError
from pipeline.files import sha256_file
from pipeline.inference import signature
from pipeline.inference.answers import Backend
from pipeline.inference.backends import OnnxRuntime
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


def open_release(folder: Path, public_key: Path | None = None) -> Release:
    """Check checksums, and the signature where a key is given, then the contract against the graph; and load it.

    Raises:
        ContractError: a file is missing, added or changed, the signature does not fit, or graph and contract differ.
        EngineError: ONNX Runtime cannot load the graph.
    """
    if public_key is None:
        signature.check_sums(folder)
    else:
        signature.verify(folder, public_key)
    manifest = contract.load(folder)
    path = folder / Path(manifest.graph.file).name
    if not path.is_file() or sha256_file(path) != manifest.graph.sha256:
        raise ContractError(
            f"the manifest's graph, {manifest.graph.sha256[:12]}", f"another {path.name}", "Copy the release again."
        )
    backend = OnnxRuntime(path)
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
    return Release(manifest, backend, targets, verified=public_key is not None)
