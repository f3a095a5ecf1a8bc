"""Losses, class weights and the ranking that chooses epochs."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from pipeline.errors import SplitError
from pipeline.transfer.objective import Objective, auroc, balanced

RARE = np.array([[1.0]] * 5 + [[0.0]] * 95, np.float32)


def test_binary_loss_is_the_mean_cross_entropy_of_smoothed_targets() -> None:
    logits, targets = torch.tensor([[2.0], [-1.0]]), torch.tensor([[1.0], [0.0]])
    p = torch.sigmoid(logits)
    smooth = torch.tensor([[0.95], [0.05]])
    expected = -(smooth * p.log() + (1 - smooth) * (1 - p).log()).mean()
    torch.testing.assert_close(Objective("binary", None, 0.1)(logits, targets), expected)


def test_multiclass_loss_is_a_softmax_and_smoothing_spreads_over_all_classes() -> None:
    logits, targets = torch.tensor([[2.0, 0.0, 1.0]]), torch.tensor([[1.0, 0.0, 0.0]])
    spread = torch.tensor([[0.8, 0.1, 0.1]])
    expected = -(spread * torch.log_softmax(logits, 1)).sum()
    torch.testing.assert_close(Objective("multiclass", None, 0.3)(logits, targets), expected)


def test_weights_make_a_rare_class_count_as_much_as_the_rest() -> None:
    """The best constant logit under the weights is 0, and without their shift it is the class's own frequency."""
    weights = balanced("binary", RARE)
    loss = Objective("binary", weights, 0.0)
    bias = torch.zeros(1, requires_grad=True)
    optimizer = torch.optim.LBFGS([bias], max_iter=100)

    def closure() -> torch.Tensor:
        optimizer.zero_grad()
        value = loss(bias.expand(100, 1), torch.from_numpy(RARE))
        value.backward()
        return value

    optimizer.step(closure)
    assert float(bias.detach()) == pytest.approx(0, abs=1e-3)
    assert float(torch.sigmoid(loss.unweighted(bias.detach()))) == pytest.approx(0.05, abs=1e-3)


def test_weights_of_several_classes() -> None:
    targets = np.eye(3, dtype=np.float32)[[0] * 6 + [1] * 3 + [2]]
    weights = balanced("multiclass", targets)
    assert (weights * targets.sum(0)).tolist() == pytest.approx([10 / 3] * 3)


def test_a_class_without_training_units_is_named() -> None:
    with pytest.raises(SplitError, match="0 of 4 with class 2 of 2"):
        balanced("multilabel", np.array([[1, 0], [0, 0], [1, 0], [0, 0]], np.float32))


def test_auroc_is_the_mean_over_classes_that_have_both_sides() -> None:
    targets = np.array([[1, 0, 0], [0, 1, 0], [1, 1, 0], [0, 0, 0]], np.float32)
    logits = np.array([[2, 0, 5], [1, 3, 5], [3, 1, 5], [0, 2, 5]], np.float32)
    assert auroc(targets, logits) == pytest.approx((1.0 + 0.75) / 2)
    with pytest.raises(SplitError, match="all alike"):
        auroc(np.ones((3, 1), np.float32), np.zeros((3, 1), np.float32))
