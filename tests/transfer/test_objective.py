"""Losses, class weights, the ranking of units, and what chooses epochs."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from pipeline.errors import SplitError
from pipeline.transfer.objective import Objective, auroc, balanced, clearly_worse, unit_losses

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
    assert auroc("multilabel", targets, logits) == pytest.approx((1.0 + 0.75) / 2)
    with pytest.raises(SplitError, match="all alike"):
        auroc("binary", np.ones((3, 1), np.float32), np.zeros((3, 1), np.float32))


def drawn(outputs: int) -> tuple[np.ndarray, np.ndarray]:
    """Targets (400, K) and logits that are right about their own probabilities."""
    rng = np.random.default_rng(3)
    logits = rng.normal(0, 2, (400, outputs)).astype(np.float32)
    if outputs == 1:
        return (rng.random((400, 1)) < 1 / (1 + np.exp(-logits))).astype(np.float32), logits
    shares = np.exp(logits) / np.exp(logits).sum(1, keepdims=True)
    return np.stack([rng.multinomial(1, share / (share.sum() + 1e-6)) for share in shares]).astype(np.float32), logits


@pytest.mark.parametrize(("kind", "outputs"), [("binary", 1), ("multiclass", 3), ("multilabel", 3)])
def test_how_sure_a_model_is_does_not_choose_its_epoch(kind, outputs) -> None:
    targets, logits = drawn(outputs)
    as_is = unit_losses(kind, targets, logits)
    assert as_is.shape == (400,)
    np.testing.assert_allclose(unit_losses(kind, targets, logits * 9), as_is, atol=1e-3)
    np.testing.assert_allclose(unit_losses(kind, targets, logits / 9), as_is, atol=1e-3)
    plain = float(Objective(kind, None, 0.0)(torch.from_numpy(logits), torch.from_numpy(targets)))
    assert as_is.mean() <= plain + 1e-6
    noise = np.random.default_rng(1).normal(0, 2, logits.shape).astype(np.float32)
    assert unit_losses(kind, targets, logits + noise).mean() > as_is.mean()


def test_outputs_that_stand_by_themselves_have_a_temperature_each() -> None:
    targets, logits = drawn(1)
    pair, scaled = np.hstack([targets, targets]), np.hstack([logits, logits * 20])
    single = unit_losses("binary", targets, logits)
    np.testing.assert_allclose(unit_losses("multilabel", pair, scaled), single, atol=1e-3)


def test_of_several_classes_the_probability_ranks() -> None:
    """Logits that differ by what all classes share: a softmax does not see it, and neither does the AUROC."""
    targets, logits = drawn(3)
    shifted = logits + np.random.default_rng(2).normal(0, 9, (400, 1)).astype(np.float32)
    assert auroc("multiclass", targets, shifted) == pytest.approx(auroc("multiclass", targets, logits), abs=1e-4)
    assert auroc("multilabel", targets, shifted) < auroc("multilabel", targets, logits) - 0.1


def test_worse_is_measured_by_what_the_units_say_of_both() -> None:
    """The same mean difference is clear where all units agree, and not where some gain what others lose."""
    least, rng = np.full(50, 0.3), np.random.default_rng(5)
    noise = rng.normal(0, 1, 50)
    apart = noise - noise.mean() + 0.1
    assert clearly_worse(least + 0.1, least)
    assert not clearly_worse(least + apart, least)
    assert not clearly_worse(least, least)
    assert not clearly_worse(np.array([0.3]), np.array([0.3]))
    assert clearly_worse(np.array([0.4]), np.array([0.3]))
