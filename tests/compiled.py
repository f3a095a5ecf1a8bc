"""What `compile` leaves, for tests that do not run it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from pipeline.files import sha256_file
from pipeline.fingerprint import NOT_RUN, Engine, Fingerprint, Provenance
from pipeline.inference import cases
from pipeline.inference.answers import Answers
from pipeline.inference.backends import OnnxRuntime

MODEL, ONNX = "ab" * 32, "cd" * 32
MOST = 40


def provenance(model_sha256: str = MODEL) -> Provenance:
    return Provenance(weights_sha256=model_sha256, data_sha256="12" * 32, git_revision="34" * 20)


def record(folder: Path, onnx_sha256: str, model_sha256: str, **changes: Any) -> dict[str, Any]:
    """compile.json without an engine, and its parity cases in `folder`, which has no graph to ask."""
    path = folder / "parity.npz"
    path.parent.mkdir(parents=True, exist_ok=True)
    if not path.exists():
        nothing = np.zeros((1, 1), np.float32)
        cases.write(path, [cases.Case(np.zeros((1, 8, 8), np.uint8), nothing + 1, Answers(*[nothing] * 4))])
    return {
        "engines": [],
        "parity": {},
        "onnx_sha256": onnx_sha256,
        "cases": {"file": path.name, "sha256": sha256_file(path), "tolerance": 1e-3, "band": 0.02},
        "answers": None,
        "provenance": provenance(model_sha256).model_dump(),
        "slices": {"least": 1, "usual": 4, "most": MOST},
        "reason": "not asked for",
        **changes,
    }


def write_cases(path: Path, graph: Path, counts: tuple[int, ...] = (1, 3, 5)) -> None:
    """Cases of noise, as a graph answers them."""
    backend = OnnxRuntime(graph)
    slices = np.random.default_rng(4).integers(0, 256, (max(counts), backend.size, backend.size), dtype=np.uint8)
    asked = [(range(count), np.ones((1, count), np.float32)) for count in counts]
    cases.write(path, cases.answered(backend, slices, asked))


def fingerprint(onnx_sha256: str = ONNX, **changes: Any) -> Fingerprint:
    """Of an engine that no GPU has run."""
    made = Fingerprint(
        builder="tensorrt_rtx",
        builder_version="1.7",
        compute_capabilities=["8.6"],
        gpu=None,
        driver=None,
        precision="fp32",
        onnx_sha256=onnx_sha256,
        transform_sha256="56" * 32,
        provenance=provenance(),
    )
    return made.model_copy(update=changes)


def engine(path: Path, onnx_sha256: str = ONNX, **changes: Any) -> Engine:
    """A record of what lies in a file."""
    made = Engine(
        file=path.name,
        sha256=sha256_file(path),
        fingerprint=fingerprint(onnx_sha256),
        slices=(1, 4, 40),
        version_compatible=False,
        hardware_compatible=False,
        status=NOT_RUN,
    )
    return made.model_copy(update=changes)
