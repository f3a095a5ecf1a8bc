"""ONNX Runtime against PyTorch on slices."""

from __future__ import annotations

import copy
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest
import torch
from torch import nn

from pipeline.engine.export import export
from pipeline.engine.graph import ReleaseGraph
from pipeline.engine.parity import MOST, compare
from pipeline.errors import EngineError
from pipeline.transfer.model import TransferModel
from tests import small_network
from tests.small_network import SIZE


@pytest.fixture(scope="module")
def exported(network: ReleaseGraph, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("parity") / "model.onnx"
    export(network, SIZE, 20, path)
    return path


@pytest.fixture(scope="module")
def slices() -> npt.NDArray[np.uint8]:
    return np.random.default_rng(5).integers(0, 256, (40, SIZE, SIZE), dtype=np.uint8)


def test_it_agrees_at_every_batch_size(network: ReleaseGraph, exported: Path, slices: npt.NDArray[np.uint8]) -> None:
    result = compare(network, exported, slices, 1e-4)
    assert 0 <= result.mean_abs_logit_difference <= result.max_abs_logit_difference <= 1e-4
    assert list(result.largest) == network.names
    assert 0 < max(result.largest.values()) <= 1e-4
    assert result.slices == 40
    assert result.batches == [(1, 1), (3, 2), (5, 5), (31, 1)]
    assert result.backend.endswith("CPUExecutionProvider, fp32")


def shifted(network: ReleaseGraph, by: float) -> ReleaseGraph:
    """The same with another bias."""
    other = copy.deepcopy(network)
    with torch.no_grad():
        other.model.head.logits.bias.add_(by)
    return other


def test_another_networks_graph_is_found_out(
    network: ReleaseGraph, exported: Path, slices: npt.NDArray[np.uint8]
) -> None:
    with pytest.raises(EngineError, match=r"logits .* within 0.0001 of PyTorch's on 40 .* a difference of 0\.01"):
        compare(shifted(network, 0.01), exported, slices, 1e-4)


class Constant(nn.Module):
    """Features of 0, so that the bias is the logit."""

    def forward(self, slices: torch.Tensor) -> torch.Tensor:
        return slices.mean((2, 3)) * 0


@pytest.mark.parametrize(
    ("logit", "off", "fine"), [(0.5, 9e-5, True), (0.5, 2e-4, False), (30.0, 2e-3, True), (30.0, 4e-3, False)]
)
def test_rounding_may_grow_with_the_logit(
    tmp_path: Path, slices: npt.NDArray[np.uint8], logit: float, off: float, fine: bool
) -> None:
    constant = shifted(small_network.network(TransferModel(Constant(), 1)), logit)
    export(constant, SIZE, 20, tmp_path / "model.onnx")
    if fine:
        found = compare(shifted(constant, off), tmp_path / "model.onnx", slices, 1e-4)
        assert found.max_abs_logit_difference > off / 2
    else:
        with pytest.raises(EngineError, match="a difference of"):
            compare(shifted(constant, off), tmp_path / "model.onnx", slices, 1e-4)


def test_of_many_slices_an_even_share_is_compared(network: ReleaseGraph, exported: Path) -> None:
    slices = np.zeros((2 * MOST + 1, SIZE, SIZE), np.uint8)
    assert compare(network, exported, slices, 1e-4).slices == 171


def test_a_logit_that_is_no_number_fails(network: ReleaseGraph, exported: Path, slices: npt.NDArray[np.uint8]) -> None:
    with pytest.raises(EngineError, match="a difference of nan"):
        compare(shifted(network, float("nan")), exported, slices, 1e-4)


def test_no_validation_slices_is_an_error_and_no_parity(
    network: ReleaseGraph, exported: Path, slices: npt.NDArray[np.uint8]
) -> None:
    with pytest.raises(EngineError, match="validation slices"):
        compare(network, exported, slices[:0], 1e-4)
