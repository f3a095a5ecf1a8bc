"""Parity cases: simulated slices, no patient's, and what was said of them, by the fp32 graph or by what runs on CPUs.

An engine says what the fp32 graph did on its own GPU, and a graph on a CPU what it did on the processor where
the release was made, or neither is used.
"""

from __future__ import annotations

import io
import zipfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from pipeline.errors import ContractError, EngineError
from pipeline.files import write_atomic
from pipeline.fingerprint import ParityCases
from pipeline.inference.answers import Answers, Backend, Floats, Slices
from pipeline.targets import decided, margin


@dataclass(frozen=True)
class Case:
    """One call: uint8 (N, size, size) slices, float32 (B, N) membership, and what was said of it."""

    slices: Slices
    membership: Floats
    expected: Answers


def answered(backend: Backend, slices: Slices, calls_of: Sequence[tuple[Sequence[int], Floats]]) -> list[Case]:
    """What a backend, the fp32 graph, says in calls that are told by the places of their slices, and by their units."""
    picked = [(slices[np.asarray(places)], membership) for places, membership in calls_of]
    return [Case(some, membership, backend.run(some, membership)) for some, membership in picked]


def write(path: Path, cases: Sequence[Case]) -> None:
    """Write cases as npz, every slice once; equal cases give equal bytes."""
    every = np.concatenate([case.slices for case in cases])
    kept, places = np.unique(every, axis=0, return_inverse=True)
    arrays: dict[str, npt.NDArray[Any]] = {"slices": kept}
    begin = 0
    for number, case in enumerate(cases):
        given = {name: value for name, value in vars(case.expected).items() if value is not None}
        rows = places.reshape(-1)[begin : begin + len(case.slices)]
        arrays |= {f"{number}.rows": rows, f"{number}.membership": case.membership}
        arrays |= {f"{number}.{name}": value for name, value in given.items()}
        begin += len(case.slices)
    write_atomic(path, lambda handle: np.savez(handle, allow_pickle=False, **arrays))


def read(path: Path) -> list[Case]:
    """The cases in a file.

    Raises:
        ContractError: it holds none.
    """
    try:
        with np.load(io.BytesIO(path.read_bytes()), allow_pickle=False) as arrays:
            return _cases({name: arrays[name] for name in arrays.files})
    except (OSError, EOFError, ValueError, KeyError, TypeError, IndexError, zipfile.BadZipFile) as error:
        raise ContractError(
            f"parity cases in {path}", f"{type(error).__name__}: {error}", "Copy the release again, whole."
        ) from error


def _cases(arrays: dict[str, npt.NDArray[Any]]) -> list[Case]:
    slices = arrays.pop("slices")
    found: list[Case] = []
    while arrays:
        mine = {name: arrays.pop(name) for name in list(arrays) if name.startswith(f"{len(found)}.")}
        given = {name.partition(".")[2]: value for name, value in mine.items()}
        rows, membership = given.pop("rows"), given.pop("membership")
        found.append(Case(slices[rows], membership, Answers(**given)))
    if not found:
        raise ValueError("no case")
    return found


def check(
    backend: Backend,
    cases: Sequence[Case],
    precision: str,
    limits: ParityCases,
    threshold: float | list[float] | None,
) -> dict[str, Any]:
    """Run the cases, and see that the backend answers as is expected of it.

    Args:
        backend: an engine on its own GPU, or a graph on a CPU.
        cases: of the release.
        precision: of the backend.
        limits: what it must keep to.
        threshold: of the release's decision, see `calibrator.Calibration`.

    Returns:
        `backend`, `cases`, `slices` (of each) and `largest`, the largest difference of each output.

    Raises:
        EngineError: it does not.
    """
    runs = [(vars(backend.run(case.slices, case.membership)), vars(case.expected)) for case in cases]
    names = [name for name, value in runs[0][1].items() if value is not None]
    largest = {name: max(_difference(found[name], expected[name]) for found, expected in runs) for name in names}
    judged = names if precision == "fp32" else ["probabilities", "slice_scores"]
    limit = limits.tolerance if precision == "fp32" else limits.band
    # Infinite where an output was no number.
    worst = max(names, key=lambda name: (np.isinf(largest[name]), name in judged, largest[name]))
    flips = sum(
        _flips(found["probabilities"], expected["probabilities"], limits, threshold) for found, expected in runs
    )
    if largest[worst] > limit or flips:
        raise EngineError(
            f"{worst} of {backend.name} within {limit:g} of the release's parity cases, and their decisions",
            f"a difference of {largest[worst]:.3g}, and {flips} other decisions",
            "Do not use this engine. Build it in another precision (`--precision fp32`), or report it to the maker.",
        )
    counts = [len(case.slices) for case in cases]
    return {"backend": backend.name, "cases": len(cases), "slices": counts, "largest": largest}


def _difference(found: Floats, expected: Floats) -> float:
    """The largest, of values beyond 1 as a share of the largest of their row; infinite of what is no number."""
    if found is None or found.shape != expected.shape or not np.isfinite(found - expected).all():
        return float("inf")
    sizes = np.abs(expected).max(axis=tuple(range(1, expected.ndim)), keepdims=True)
    return float((np.abs(found - expected) / np.maximum(np.float32(1), sizes)).max())


def _flips(found: Floats, expected: Floats, limits: ParityCases, threshold: float | list[float] | None) -> int:
    """How many decisions differ where the expected one lies outside the band."""
    flipped = (decided(found, threshold) != decided(expected, threshold)).any(axis=1)
    return int((flipped & (margin(expected, threshold) > limits.band)).sum())
