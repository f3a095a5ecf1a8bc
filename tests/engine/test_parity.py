"""ONNX Runtime against PyTorch on slices."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest
import torch
from torch import nn

from pipeline.engine.export import export
from pipeline.engine.parity import MOST, compare
from pipeline.errors import EngineError

SIZE = 64


@pytest.fixture(scope="module")
def exported(network: nn.Module, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("parity") / "model.onnx"
    export(network, SIZE, 20, path)
    return path


@pytest.fixture(scope="module")
def slices() -> npt.NDArray[np.uint8]:
    return np.random.default_rng(5).integers(0, 256, (40, SIZE, SIZE), dtype=np.uint8)


def test_it_agrees_at_every_batch_size(network: nn.Module, exported: Path, slices: npt.NDArray[np.uint8]) -> None:
    result = compare(network, exported, slices, 1e-4)
    assert 0 <= result.mean_abs_logit_difference <= result.max_abs_logit_difference <= 1e-4
    assert result.slices == 40
    assert result.batches == [1, 3, 32]
    assert result.providers == ["CPUExecutionProvider"]


def test_another_networks_graph_is_found_out(network: nn.Module, exported: Path, slices: npt.NDArray[np.uint8]) -> None:
    other = nn.Sequential(network, nn.Hardtanh(-1e9, 1e9))
    with torch.no_grad():
        shifted = nn.Sequential(other, nn.Linear(1, 1))
        shifted[1].weight.fill_(1.0)
        shifted[1].bias.fill_(0.01)
    with pytest.raises(EngineError, match=r"within 0.0001 of PyTorch's on 40 .* a difference of 0\.01"):
        compare(shifted, exported, slices, 1e-4)


class Constant(nn.Module):
    def __init__(self, logit: float) -> None:
        super().__init__()
        self.logit = logit

    def forward(self, slices: torch.Tensor) -> torch.Tensor:
        return slices.mean((1, 2, 3))[:, None] * 0 + self.logit


@pytest.mark.parametrize(
    ("logit", "off", "fine"), [(0.5, 9e-5, True), (0.5, 2e-4, False), (30.0, 2e-3, True), (30.0, 4e-3, False)]
)
def test_rounding_may_grow_with_the_logit(
    tmp_path: Path, slices: npt.NDArray[np.uint8], logit: float, off: float, fine: bool
) -> None:
    export(Constant(logit), SIZE, 20, tmp_path / "model.onnx")
    if fine:
        assert compare(Constant(logit + off), tmp_path / "model.onnx", slices, 1e-4).max_abs_logit_difference > off / 2
    else:
        with pytest.raises(EngineError, match="a difference of"):
            compare(Constant(logit + off), tmp_path / "model.onnx", slices, 1e-4)


def test_of_many_slices_an_even_share_is_compared(network: nn.Module, exported: Path) -> None:
    slices = np.zeros((2 * MOST + 1, SIZE, SIZE), np.uint8)
    assert compare(network, exported, slices, 1e-4).slices == 171


class NotANumber(nn.Module):
    def forward(self, slices: torch.Tensor) -> torch.Tensor:
        return torch.full((len(slices), 1), torch.nan)


def test_a_logit_that_is_no_number_fails(exported: Path, slices: npt.NDArray[np.uint8]) -> None:
    with pytest.raises(EngineError, match="a difference of nan"):
        compare(NotANumber(), exported, slices, 1e-4)


def test_no_validation_slices_is_an_error_and_no_parity(
    network: nn.Module, exported: Path, slices: npt.NDArray[np.uint8]
) -> None:
    with pytest.raises(EngineError, match="validation slices"):
        compare(network, exported, slices[:0], 1e-4)
