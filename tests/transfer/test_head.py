"""The head: rows, and bags pooled from them, as on a box."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from pipeline.clinical import pooling as on_a_box
from pipeline.contract import Pooling
from pipeline.transfer.head import Head, pool

POOLINGS: tuple[Pooling, ...] = ("mean", "max", "attention")


def _trained(pooling: Pooling, outputs: int = 3) -> Head:
    torch.manual_seed(1)
    head = Head(5, outputs, pooling)
    for parameter in head.parameters():
        torch.nn.init.normal_(parameter)
    return head.eval()


def test_pooling_is_the_mean_or_the_maximum_of_each_unit() -> None:
    rows, owner = torch.tensor([[1.0, 9.0], [5.0, 3.0], [3.0, 3.0]]), torch.tensor([0, 1, 0])
    assert pool(rows, owner, 2, "mean").tolist() == [[2.0, 6.0], [5.0, 3.0]]
    assert pool(rows, owner, 2, "max").tolist() == [[3.0, 9.0], [5.0, 3.0]]


def test_attention_over_rows_is_attention_over_features() -> None:
    head, features = _trained("attention"), torch.randn(7, 5)
    assert head.attention is not None
    weight = torch.softmax(head.attention(features)[:, 0], 0)
    expected = head.logits((weight[:, None] * features).sum(0))
    found = pool(head(features), torch.zeros(7, dtype=torch.int64), 1, "attention")
    torch.testing.assert_close(found[0], expected)


def test_attention_starts_as_the_mean() -> None:
    head = Head(5, 2, "attention").eval()
    torch.nn.init.normal_(head.logits.weight)
    features, owner = torch.randn(6, 5), torch.tensor([0, 0, 1, 1, 1, 0])
    torch.testing.assert_close(
        pool(head(features), owner, 2, "attention"), pool(head.logits(features), owner, 2, "mean")
    )


@pytest.mark.parametrize("pooling", POOLINGS)
def test_a_box_pools_as_training_does(pooling: Pooling) -> None:
    rows = _trained(pooling)(torch.randn(40, 5) * 4).detach()
    owner = torch.randint(0, 6, (40,))
    owner[:6] = torch.arange(6)
    names, found = on_a_box.pool(rows.numpy(), [f"u{unit}" for unit in owner.tolist()], pooling)
    assert names == [f"u{unit}" for unit in range(6)]
    np.testing.assert_allclose(found, pool(rows, owner, 6, pooling).numpy(), rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("pooling", POOLINGS)
def test_the_order_of_slices_does_not_matter_and_one_slice_is_a_bag(pooling: Pooling) -> None:
    rows = _trained(pooling)(torch.randn(9, 5)).detach()
    owner, order = torch.tensor([0] * 8 + [1]), torch.randperm(9)
    torch.testing.assert_close(pool(rows[order], owner[order], 2, pooling), pool(rows, owner, 2, pooling))
    torch.testing.assert_close(pool(rows, owner, 2, pooling)[1], rows[8, :3])


@pytest.mark.parametrize("pooling", POOLINGS)
def test_huge_scores_do_not_overflow_and_gradients_reach_every_parameter(pooling: Pooling) -> None:
    head = _trained(pooling).train()
    pooled = pool(head(torch.randn(12, 5) * 1e3), torch.arange(12) % 2, 2, pooling)
    assert torch.isfinite(pooled).all()
    pooled.sum().backward()
    assert all(parameter.grad is not None and torch.isfinite(parameter.grad).all() for parameter in head.parameters())
