"""Parity cases: written, read back, and held against what an engine answers."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from pipeline.errors import ContractError, EngineError
from pipeline.fingerprint import ParityCases
from pipeline.inference import cases
from pipeline.inference.answers import Answers, Floats, Slices
from pipeline.inference.backends import OnnxRuntime
from tests.compiled import write_cases

LIMITS = ParityCases(sha256="0" * 64, tolerance=1e-3, band=0.02)


class Off:
    """Answers as the graph does, but for what `change` does to it."""

    def __init__(self, graph: Path, **change: Any) -> None:
        self._graph, self._change = OnnxRuntime(graph), change
        self.name, self.size, self.outputs = "off", self._graph.size, self._graph.outputs

    def run(self, slices: Slices, membership: Floats) -> Answers:
        found = self._graph.run(slices, membership)
        return replace(found, **{name: change(getattr(found, name)) for name, change in self._change.items()})


@pytest.fixture
def path(graph: Path, tmp_path: Path) -> Path:
    write_cases(tmp_path / "parity.npz", graph)
    return tmp_path / "parity.npz"


def test_they_come_back_as_they_were(path: Path, graph: Path) -> None:
    found = cases.read(path)
    assert [len(case.slices) for case in found] == [1, 3, 5]
    reference = OnnxRuntime(graph)
    for case in found:
        for name, value in vars(reference.run(case.slices, case.membership)).items():
            np.testing.assert_array_equal(getattr(case.expected, name), value)
    report = cases.check(Off(graph), found, "fp32", LIMITS, 0.5)
    assert (report["cases"], report["slices"], report["backend"]) == (3, [1, 3, 5], "off")
    assert set(report["largest"].values()) == {0.0}


@pytest.mark.parametrize("content", [b"", b"PK\x03\x04 and no more", None])
def test_a_damaged_file_is_an_error(content: bytes | None, path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-200] if content is None else content)
    with pytest.raises(ContractError, match="parity cases in .*parity.npz"):
        cases.read(path)


def test_no_pickle_is_read(tmp_path: Path) -> None:
    np.savez(tmp_path / "parity.npz", slices=np.array([{}], dtype=object))
    with pytest.raises(ContractError, match="allow_pickle=False"):
        cases.read(tmp_path / "parity.npz")


@pytest.mark.parametrize(
    ("precision", "change", "passes"),
    [
        ("fp32", {"probabilities": lambda p: p + 5e-4}, True),
        ("fp32", {"probabilities": lambda p: p + 2e-3}, False),
        ("fp32", {"embedding": lambda e: e * 1.01 + 0.01}, False),
        ("fp16", {"embedding": lambda e: e * 1.01 + 0.01}, True),
        ("fp16", {"probabilities": lambda p: p + 0.01}, True),
        ("fp16", {"probabilities": lambda p: p + 0.03}, False),
        ("int8", {"slice_scores": lambda p: p - 0.03}, False),
        ("bf16", {"embedding": lambda e: np.full_like(e, np.nan)}, False),
        ("bf16", {"probabilities": lambda p: np.full_like(p, np.nan)}, False),
        ("bf16", {"saliency": lambda _: None}, False),
    ],
)
def test_an_engine_keeps_to_the_limits_or_is_refused(
    precision: Any, change: dict[str, Any], passes: bool, path: Path, graph: Path
) -> None:
    if passes:
        report = cases.check(Off(graph, **change), cases.read(path), precision, LIMITS, 0.5)
        assert report["largest"][next(iter(change))] > 0
        return
    with pytest.raises(EngineError, match=f"{next(iter(change))} of off within .*Do not use this engine"):
        cases.check(Off(graph, **change), cases.read(path), precision, LIMITS, 0.5)


def _case(probabilities: list[list[float]]) -> list[cases.Case]:
    values = np.array(probabilities, np.float32)
    units = len(values)
    answers = Answers(values, values, values, values)
    return [cases.Case(np.zeros((units, 8, 8), np.uint8), np.eye(units, dtype=np.float32), answers)]


class Says:
    """Gives one answer, whatever it is asked."""

    name, size = "says", 8

    def __init__(self, probabilities: list[list[float]]) -> None:
        self.outputs: dict[str, int] = {}
        self._values = np.array(probabilities, np.float32)

    def run(self, slices: Slices, membership: Floats) -> Answers:
        return Answers(self._values, self._values, self._values, self._values)


@pytest.mark.parametrize(
    ("expected", "found", "threshold", "passes"),
    [
        ([[0.51]], [[0.49]], 0.5, True),
        ([[0.53]], [[0.49]], 0.5, False),
        ([[0.4, 0.41, 0.19]], [[0.41, 0.4, 0.19]], None, True),
        ([[0.4, 0.43, 0.17]], [[0.42, 0.41, 0.17]], None, False),
        ([[0.51, 0.9]], [[0.49, 0.9]], [0.5, 0.2], True),
    ],
)
def test_a_decision_flips_only_inside_the_band(expected: Any, found: Any, threshold: Any, passes: bool) -> None:
    limits = LIMITS.model_copy(update={"band": 0.025})
    if passes:
        cases.check(Says(found), _case(expected), "fp16", limits, threshold)
        return
    with pytest.raises(EngineError, match="Do not use this engine"):
        cases.check(Says(found), _case(expected), "fp16", limits, threshold)
