"""How fast each part learns: rates that fall towards the stem, and over a phase."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import torch

from pipeline.training_config import Finetune, Phase
from pipeline.transfer import layers
from pipeline.transfer.model import TransferModel


def optimizer(model: TransferModel, phase: Phase, frozen: int, settings: Finetune) -> torch.optim.AdamW:
    """AdamW over what learns: the head at the phase's rate, each block below it at `layer_decay` times the one above.

    Biases and the weights of normalisation are not decayed (one dimension: Goyal et al. 2017, section 5.1).

    Args:
        model: frozen for the phase.
        phase: its rate.
        frozen: how many blocks, from the stem up, do not learn.
        settings: layer decay and weight decay.
    """
    learning = [block.parameters for block in layers.blocks(model.trunk)[frozen:]]
    groups: list[dict[str, Any]] = []
    for depth, parameters in enumerate([tuple(model.head.parameters()), *reversed(learning)]):
        rate = phase.learning_rate * settings.layer_decay**depth
        groups += _decayed_and_not(parameters, rate, settings.weight_decay)
    return torch.optim.AdamW(groups)


def _decayed_and_not(
    parameters: Sequence[torch.nn.Parameter], rate: float, weight_decay: float
) -> list[dict[str, Any]]:
    parts = ([p for p in parameters if p.ndim > 1], weight_decay), ([p for p in parameters if p.ndim <= 1], 0.0)
    return [{"params": part, "lr": rate, "peak": rate, "weight_decay": decay} for part, decay in parts if part]


def set_rates(found: torch.optim.Optimizer, step: int, total: int, warmup: float) -> None:
    """The rates of step `step` (from 0) of `total`: linear up over the first `warmup` share, then a cosine to 0."""
    rise = warmup * total
    share = (step + 1) / (rise + 1) if step < rise else 0.5 * (1 + math.cos(math.pi * (step - rise) / (total - rise)))
    for group in found.param_groups:
        group["lr"] = group["peak"] * share
