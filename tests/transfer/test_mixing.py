"""Mixed pairs of units."""

from __future__ import annotations

import torch

from pipeline.transfer.batches import Batch
from pipeline.transfer.mixing import draw


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
