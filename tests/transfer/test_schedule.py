"""Rates over the trunk and over a phase."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from pipeline.training_config import Phase
from pipeline.transfer import layers
from pipeline.transfer.model import TransferModel, from_backbone
from pipeline.transfer.schedule import optimizer, set_rates
from tests.transfer.test_train import settings

PHASE = Phase(name="all", trunk=1.0, epochs=2, learning_rate=1e-3)


def _model(folder: Path, trunk: float) -> tuple[TransferModel, int]:
    model = from_backbone(folder, 32, 0.0, pretrained=True)
    return model, model.freeze(trunk)


def test_rates_fall_towards_the_stem(backbone_folder: Path) -> None:
    """Before the first step and at any step of a phase."""
    model, frozen = _model(backbone_folder, 1.0)
    made = optimizer(model, PHASE, frozen, settings(layer_decay=0.7))
    assert _rates(model, made)[0] == 1e-3
    heads = []
    for step in (None, 0, 4, 10, 40, 99):
        if step is not None:
            set_rates(made, step, 100, 0.1)
        head, *falling = _rates(model, made)
        assert falling == pytest.approx([head * 0.7 ** (depth + 1) for depth in range(len(falling))])
        heads.append(head)
    assert len(falling) == len(layers.blocks(model.trunk))
    assert len(set(heads)) == 5, "the peak is reached once, after the warm-up"


def _rates(model: TransferModel, made: torch.optim.Optimizer) -> list[float]:
    """Of the head and of each block below it."""
    rate = {id(p): group["lr"] for group in made.param_groups for p in group["params"]}
    parts = [tuple(model.head.parameters()), *(block.parameters for block in reversed(layers.blocks(model.trunk)))]
    each = [{rate[id(p)] for p in part} for part in parts]
    assert all(len(rates) == 1 for rates in each)
    return [rates.pop() for rates in each]


def test_only_what_learns_is_there_and_only_kernels_decay(backbone_folder: Path) -> None:
    model, frozen = _model(backbone_folder, 0.5)
    made = optimizer(model, PHASE, frozen, settings())
    held = {id(p) for group in made.param_groups for p in group["params"]}
    assert held == {id(p) for p in model.parameters() if p.requires_grad}
    for group in made.param_groups:
        assert {p.ndim > 1 for p in group["params"]} == {group["weight_decay"] > 0}


def test_a_rate_rises_then_falls_to_nothing() -> None:
    made = torch.optim.AdamW([{"params": [torch.nn.Parameter(torch.zeros(1))], "lr": 2.0, "peak": 2.0}])
    rates = []
    for step in range(100):
        set_rates(made, step, 100, 0.1)
        rates.append(made.param_groups[0]["lr"])
    assert rates[:11] == sorted(rates[:11])
    assert rates[10:] == sorted(rates[10:], reverse=True)
    assert max(rates) == rates[10] == 2.0
    assert 0 < rates[-1] < 0.01
    set_rates(made, 0, 100, 0.0)
    assert made.param_groups[0]["lr"] == 2.0
