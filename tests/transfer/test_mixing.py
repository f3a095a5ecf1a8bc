"""Mixed pairs of units."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from pipeline.training_config import Phase
from pipeline.transfer.batches import Batch
from pipeline.transfer.head import Head
from pipeline.transfer.learner import Learner
from pipeline.transfer.mixing import Mixing, draw
from pipeline.transfer.objective import Objective
from pipeline.transfer.train import Material
from tests.transfer.test_train import training


def _batch() -> Batch:
    owner = torch.tensor([0, 0, 0, 1, 2, 2])
    return Batch(torch.eye(6), owner, torch.tensor([[1.0], [0.0], [0.0]]))


def test_rows_are_mixed_with_rows_of_the_partner_in_the_share_of_the_targets() -> None:
    batch = _batch()
    for seed in range(20):
        mixing = draw(batch, 0.4, torch.Generator().manual_seed(seed))
        assert torch.equal(batch.owner[mixing.partner_row], mixing.partner[batch.owner])
        assert ((mixing.share >= 0.5) & (mixing.share <= 1)).all()
        mixed = mixing.values(batch.values)
        torch.testing.assert_close(mixed.sum(1), torch.ones(6))
        for row in range(6):
            share = float(mixing.share[batch.owner[row]])
            same = int(mixing.partner_row[row]) == row
            assert float(mixed[row, row]) == (1.0 if same else torch.tensor(share).item())
        share, theirs = mixing.share[:, None], batch.targets[mixing.partner]
        torch.testing.assert_close(mixing.targets(batch.targets), share * batch.targets + (1 - share) * theirs)


def test_the_seed_decides() -> None:
    one, same, other = (draw(_batch(), 0.4, torch.Generator().manual_seed(seed)) for seed in (3, 3, 4))
    assert torch.equal(one.share, same.share)
    assert torch.equal(one.partner_row, same.partner_row)
    assert not torch.equal(one.share, other.share)


def test_slices_are_mixed_as_features_are() -> None:
    mixing = draw(_batch(), 1.0, torch.Generator().manual_seed(0))
    slices = torch.rand(6, 1, 4, 4)
    torch.testing.assert_close(mixing.values(slices).flatten(1), mixing.values(slices.flatten(1)))


def test_the_head_is_given_the_mixed_features() -> None:
    head, slices = Head(6, 1, "mean"), torch.rand(6, 1, 2, 3, generator=torch.Generator().manual_seed(0))
    nn.init.ones_(head.logits.weight)
    learner, features = Learner(nn.Flatten(), head).eval(), slices.flatten(1)
    mixing = draw(_batch(), 1.0, torch.Generator().manual_seed(1))
    with torch.no_grad():
        torch.testing.assert_close(learner(slices, mixing), head(mixing.values(features)))
        assert not torch.allclose(learner(slices, mixing), head(features))
        torch.testing.assert_close(learner(slices), head(features))


@pytest.mark.parametrize(("alpha", "at"), [(0.4, "slices"), (0.4, "features"), (0.0, "features")])
def test_training_learns_from_mixtures_and_is_judged_by_none(
    tmp_path: Path,
    backbone_folder: Path,
    material: Material,
    monkeypatch: pytest.MonkeyPatch,
    alpha: float,
    at: str,
) -> None:
    given: list[torch.Tensor] = []
    reached: set[tuple[bool, bool]] = set()
    dimensions: set[int] = set()
    loss, forward, values = Objective.__call__, Learner.forward, Mixing.values

    def seen_loss(objective: Objective, logits: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
        given.append(targets)
        return loss(objective, logits, targets)

    def seen_forward(learner: Learner, slices: torch.Tensor, mixing: Mixing | None = None) -> torch.Tensor:
        reached.add((learner.training, mixing is not None))
        return forward(learner, slices, mixing)

    def seen_values(mixing: Mixing, rows: torch.Tensor) -> torch.Tensor:
        dimensions.add(rows.ndim)
        return values(mixing, rows)

    patched: list[tuple[Any, str, Any]] = [
        (Objective, "__call__", seen_loss),
        (Learner, "forward", seen_forward),
        (Mixing, "values", seen_values),
    ]
    for place in patched:
        monkeypatch.setattr(*place)
    phase = Phase(name="p", trunk=0.5, epochs=1, learning_rate=1e-3)
    training(tmp_path, backbone_folder, [phase], mixup={"alpha": alpha, "at": at}).run(material)
    targets = torch.cat(given)
    assert bool(((targets > 0) & (targets < 1)).any()) == (alpha > 0)
    assert reached == {(True, alpha > 0 and at == "features"), (False, False)}
    assert dimensions == ({{"slices": 4, "features": 2}[at]} if alpha else set())
