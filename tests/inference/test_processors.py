"""A release on a processor that computes otherwise than the one where it was made."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from pipeline import contract
from pipeline.errors import EngineError
from pipeline.files import sha256_file
from pipeline.inference import cases, signature
from pipeline.inference.release import open_release

OPENVINO = {"runtime": "openvino", "precision": "int8"}


@pytest.fixture
def told(make_release, tmp_path: Path) -> Path:
    """A release that runs in OpenVINO, with what that says here of the parity cases."""
    folder = make_release(tmp_path / "release", runs=OPENVINO)
    backend = open_release(folder).backend
    known = cases.read(folder / "parity.npz")
    tell(folder, [replace(case, expected=backend.run(case.slices, case.membership)) for case in known])
    return folder


def tell(folder: Path, said: list[cases.Case]) -> None:
    """Put into the release what was said of the cases where it was made."""
    path = folder / "runs.npz"
    cases.write(path, said)
    limits = contract.ParityCases(file="runs.npz", sha256=sha256_file(path), tolerance=1e-3, band=0.02)
    contract.load(folder).model_copy(update={"answers": limits}).save(folder / "manifest.json")
    (folder / signature.SUMS).unlink()
    signature.write_sums(folder)


def test_one_that_computes_alike_is_used(told: Path) -> None:
    assert open_release(told).backend.name.startswith("OpenVINO")


@pytest.mark.parametrize(("off", "opens"), [(0.01, True), (0.05, False), (np.nan, False)])
def test_one_that_computes_otherwise_is_not(told: Path, off: float, opens: bool) -> None:
    """What was said there differs by so much from what is said here."""
    said = cases.read(told / "runs.npz")
    moved = replace(said[-1].expected, slice_scores=said[-1].expected.slice_scores * (1 - off))
    tell(told, [*said[:-1], replace(said[-1], expected=moved)])
    if opens:
        open_release(told)
        return
    with pytest.raises(EngineError, match=r"on this machine, and otherwise where it was made.*--precision fp32"):
        open_release(told)
    assert open_release(told, plain=True).backend.name.startswith("ONNX Runtime")
