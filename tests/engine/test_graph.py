"""What a release's graph computes: pooling, calibrators and maps as the training side has them."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

from pipeline.calibrator import Knots
from pipeline.engine.graph import Calibrator, pooled
from pipeline.inference.answers import each, membership
from pipeline.targets import BINARY, Targets
from pipeline.transfer import head
from tests import small_network
from tests.small_network import CLASSES, SIZE, calibration

OWNERS = [3, 0, 1, 1, 3, 1, 2]
MULTICLASS, MULTILABEL = Targets("multiclass", CLASSES), Targets("multilabel", CLASSES)


def a_few(count: int = len(OWNERS)) -> torch.Tensor:
    return torch.from_numpy(np.random.default_rng(1).integers(0, 256, (count, 1, SIZE, SIZE), dtype=np.uint8))


@pytest.mark.parametrize("pooling", ["mean", "max", "attention"])
def test_units_are_pooled_as_in_training(pooling: Any) -> None:
    rows = torch.randn(len(OWNERS), 3 + (pooling == "attention"), generator=torch.Generator().manual_seed(1)) * 9
    names, belongs = membership([str(owner) for owner in OWNERS])
    assert names == ["3", "0", "1", "2"]
    expected = head.pool(rows, torch.tensor([names.index(str(owner)) for owner in OWNERS]), 4, pooling)
    torch.testing.assert_close(pooled(rows, torch.from_numpy(belongs), pooling), expected)


@pytest.mark.parametrize(
    ("targets", "fixed"),
    [
        (BINARY, {"temperature": 1.7}),
        (MULTICLASS, {"temperature": 0.6, "threshold": None}),
        (MULTILABEL, {"temperature": [0.5, 1.0, 3.0], "threshold": [0.5] * 3}),
        (BINARY, {"knots": [Knots(logits=[-1.0, 0.25, 0.5, 4.0], probabilities=[0.1, 0.1, 0.7, 1.0])]}),
        (BINARY, {"knots": [Knots(logits=[0.0], probabilities=[0.3])]}),
    ],
)
def test_calibrators_are_those_of_the_contract(targets: Targets, fixed: dict[str, Any]) -> None:
    given = np.linspace(-30, 30, 601, dtype=np.float32)
    logits = np.stack([np.roll(given, 7 * place) for place in range(targets.outputs)], axis=1)
    found = Calibrator(calibration(**fixed), targets)(torch.from_numpy(logits)).numpy()
    assert found.dtype == np.float32
    np.testing.assert_allclose(found, targets.calibrated(logits, calibration(**fixed)), atol=1e-6)


def test_it_answers_for_units_and_for_slices() -> None:
    model = small_network.model(3, "attention")
    network = small_network.network(model, MULTICLASS, temperature=2.0, threshold=None)
    slices = a_few()
    _, belongs = membership([str(owner) for owner in OWNERS])
    with torch.inference_mode():
        found = dict(zip(network.names, network(slices, torch.from_numpy(belongs)), strict=True))
        alone = dict(zip(network.names, network(slices, torch.from_numpy(each(len(OWNERS)))), strict=True))
        features = model.trunk(slices / 255)
    assert {name: tuple(value.shape) for name, value in found.items()} == {
        "probabilities": (4, 3), "logits": (4, 3), "slice_scores": (7, 3),
        "embedding": (4, features.shape[1]), "saliency": (7, 3, 2, 2),
    }  # fmt: skip
    torch.testing.assert_close(found["probabilities"], torch.softmax(found["logits"] / 2, 1))
    torch.testing.assert_close(found["slice_scores"], alone["probabilities"])
    torch.testing.assert_close(alone["embedding"], features)
    torch.testing.assert_close(found["embedding"][2], features[[2, 3, 5]].mean(0))


def test_the_mean_of_a_map_is_the_logit_without_its_bias() -> None:
    network = small_network.network(small_network.model(3), MULTILABEL, temperature=[1.0] * 3, threshold=[0.5] * 3)
    with torch.inference_mode():
        found = dict(zip(network.names, network(a_few(), torch.from_numpy(each(len(OWNERS)))), strict=True))
    bias = network.model.head.logits.bias
    torch.testing.assert_close(found["saliency"].mean((2, 3)) + bias, found["logits"], atol=1e-4, rtol=1e-4)


def test_a_network_whose_head_sees_no_map_has_none() -> None:
    network = small_network.network(small_network.model(name="test_vit", size=160), size=160)
    assert network.names == ["probabilities", "logits", "slice_scores", "embedding"]
