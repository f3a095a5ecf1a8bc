"""What learns in a phase, its moving average, and what it says of units however large they are."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from pipeline.transfer import learner, recordings
from pipeline.transfer.batches import Bags, Batch, Loader
from pipeline.transfer.head import Head
from pipeline.transfer.learner import Average, Learner, state_with, unit_logits
from pipeline.transfer.model import TransferModel
from pipeline.transfer.recordings import Recording

CPU = torch.device("cpu")


@pytest.fixture
def flat() -> TransferModel:
    """Slices of 4 x 4 pixels are their own features."""
    torch.manual_seed(0)
    return TransferModel(nn.Sequential(nn.Flatten()), 16)


def test_the_average_follows_by_its_share_and_is_what_is_kept(flat: TransferModel) -> None:
    """Short at first, so that it forgets where it began; later each step counts one tenth at a decay of 0.9."""
    whole = Learner(flat.trunk, flat.head)
    average, bias = Average(whole, 0.9), flat.head.logits.bias.data
    for _ in range(200):
        bias.fill_(1.0)
        average.update(whole)
    assert average.learner.head.logits.bias.item() == pytest.approx(1.0, abs=1e-6)
    for expected in (1.1, 1.19, 1.271):
        bias.fill_(2.0)
        average.update(whole)
        assert average.learner.head.logits.bias.item() == pytest.approx(expected, abs=1e-5)
    assert state_with(flat, whole, average.learner)["head.logits.bias"].item() == pytest.approx(1.271, abs=1e-5)
    assert state_with(flat, whole, whole)["head.logits.bias"].item() == 2.0


class Counts(nn.Flatten):
    """Notes how many slices come at once."""

    def __init__(self) -> None:
        super().__init__()
        self.seen: list[int] = []

    def forward(self, slices: torch.Tensor) -> torch.Tensor:
        self.seen.append(len(slices))
        return super().forward(slices)


@pytest.fixture
def uneven() -> Bags:
    """Units of 40, 1 and 9 slices."""
    values = np.random.default_rng(0).integers(0, 255, (50, 4, 4)).astype(np.uint8)
    return Bags(values, [np.arange(40), np.array([40]), np.arange(41, 50)], np.array([[0.0], [1.0], [1.0]], np.float32))


@pytest.mark.parametrize("pooling", ["mean", "max", "attention"])
def test_a_unit_of_many_slices_goes_through_in_parts(
    uneven: Bags, pooling: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    torch.manual_seed(0)
    trunk = Counts()
    own = Learner(trunk, Head(16, 1, pooling, 0.0))  # type: ignore[arg-type]
    together = unit_logits(own, uneven, CPU, torch.float32)
    assert max(trunk.seen) == 50
    monkeypatch.setattr(learner, "AT_ONCE", 7)
    trunk.seen.clear()
    np.testing.assert_allclose(unit_logits(own, uneven, CPU, torch.float32), together, atol=1e-6)
    assert max(trunk.seen) == 7
    assert sum(trunk.seen) == 50


def test_so_does_it_when_it_is_recorded(uneven: Bags, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def unchanged(batch: Batch, _draw: int, _place: int) -> Batch:
        return batch.to(CPU)

    monkeypatch.setattr(recordings, "AT_ONCE", 7)
    prefix = Counts()
    found = Recording(tmp_path, prefix, Loader(uneven, 2, shuffle=False), unchanged, "record", torch.float32).draw(0)
    assert max(prefix.seen) == 7
    assert [len(own) for own in found.rows] == [40, 1, 9]
    np.testing.assert_allclose(found.values, uneven.values.reshape(50, 16) / 255, atol=1e-3)
