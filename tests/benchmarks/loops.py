"""Loops as people write them, to compare with: plain PyTorch, and in the manner of timm's training script.

Both get what ours gets: the same one-channel network with the same pre-trained weights, slices, augmentation, precision
and memory layout, and validation patients to choose their best epoch by. All of it learns from the first step on.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import torch
from timm.optim import create_optimizer_v2
from timm.scheduler import CosineLRScheduler
from timm.utils import ModelEmaV3

from pipeline.training_config import Finetune
from pipeline.transfer import objective
from pipeline.transfer.batches import Bags, Loader, units_a_batch
from pipeline.transfer.feed import PRECISION, augmented, seeded
from pipeline.transfer.head import pool
from pipeline.transfer.learner import Learner, unit_logits
from pipeline.transfer.model import TransferModel
from pipeline.transfer.predict import device


@dataclass(frozen=True)
class Epoch:
    """How a loop stands after an epoch.

    Attributes:
        seconds: since the loop began, without validation.
        auroc: of validation units.
        model: with this epoch's weights.
    """

    seconds: float
    auroc: float
    model: TransferModel


@dataclass(frozen=True)
class Setting:
    """What a loop trains on and how."""

    train: Bags
    val: Bags
    settings: Finetune
    epochs: int
    rate: float
    seed: int


def plain(model: TransferModel, given: Setting) -> Iterator[Epoch]:
    """Adam at one rate."""
    _placed(model)
    optimizer = torch.optim.Adam(model.parameters(), lr=given.rate)
    yield from _loop(model, given, optimizer, lambda _step, _steps: None, None)


def timm_style(model: TransferModel, given: Setting) -> Iterator[Epoch]:
    """AdamW without decay of biases, a cosine with warm-up by step, and an average of the weights."""
    _placed(model)
    optimizer = create_optimizer_v2(model, opt="adamw", lr=given.rate, weight_decay=0.05)
    schedule: list[CosineLRScheduler] = []

    def rate(step: int, steps: int) -> None:
        if not schedule:
            total = given.epochs * steps
            schedule.append(CosineLRScheduler(optimizer, total, warmup_t=steps, warmup_lr_init=1e-6, t_in_epochs=False))
        schedule[0].step_update(step)

    yield from _loop(model, given, optimizer, rate, ModelEmaV3(model, decay=0.99, use_warmup=True))


def _placed(model: TransferModel) -> None:
    """On the device and in the layout in which ours trains."""
    model.to(device(), memory_format=torch.channels_last)  # type: ignore[call-overload]


def _loop(
    model: TransferModel,
    given: Setting,
    optimizer: torch.optim.Optimizer,
    rate: Callable[[int, int], None],
    average: ModelEmaV3 | None,
) -> Iterator[Epoch]:
    settings, dtype, on_device = given.settings, PRECISION[given.settings.precision], next(model.parameters()).device
    units = units_a_batch(given.train, settings.batch_slices, settings.slices_per_unit)
    train = given.train.turns(units, settings.least_steps)
    loader = Loader(train, units, (given.seed, 0), settings.slices_per_unit)
    spent, step = 0.0, 0
    for loader.epoch in range(1, given.epochs + 1):
        begin = time.perf_counter()
        model.train()
        torch.manual_seed(given.seed + loader.epoch)
        for batch in loader:
            rate(step, len(loader))
            on = augmented(batch, batch.to(on_device), settings, seeded(given.seed, step))
            with torch.autocast(on_device.type, dtype, enabled=dtype != torch.float32):
                rows = model(on.values)
            logits = pool(rows.float(), on.owner, len(on.targets), settings.pooling)
            optimizer.zero_grad()
            torch.nn.functional.binary_cross_entropy_with_logits(logits, on.targets).backward()
            optimizer.step()
            step += 1
            if average is not None:
                average.update(model, step=step)
        if on_device.type == "cuda":
            torch.cuda.synchronize()
        spent += time.perf_counter() - begin
        found = model if average is None else average.module
        assert isinstance(found, TransferModel)
        yield Epoch(spent, _auroc(found, given.val, dtype), found)


def _auroc(model: TransferModel, val: Bags, dtype: torch.dtype) -> float:
    logits = unit_logits(Learner(model.trunk, model.head), val, next(model.parameters()).device, dtype)
    return objective.auroc("binary", val.targets, logits)


def best(epochs: Iterator[Epoch]) -> tuple[float, dict[str, torch.Tensor]]:
    """The best validation AUROC, and the tensors of its epoch."""
    top, state = -1.0, {}
    for epoch in epochs:
        if epoch.auroc >= top:
            top, state = epoch.auroc, {key: value.clone() for key, value in epoch.model.state_dict().items()}
    return top, state
