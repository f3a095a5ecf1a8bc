"""The steps of one phase of training."""

from __future__ import annotations

from dataclasses import dataclass, replace

import ignite.distributed as idist
import torch
from torch import nn

from pipeline.training_config import Finetune, Phase
from pipeline.transfer import mixing, schedule
from pipeline.transfer.batches import Batch
from pipeline.transfer.checkpoint import Progress
from pipeline.transfer.distributed import others_rank
from pipeline.transfer.feed import PRECISION, Feed, augmented, mix, seeded
from pipeline.transfer.head import pool
from pipeline.transfer.learner import Average
from pipeline.transfer.model import TransferModel
from pipeline.transfer.objective import Objective


@dataclass(frozen=True)
class Task:
    """What stays the same in all phases of one training."""

    model: TransferModel
    loss: Objective
    settings: Finetune
    seed: int
    device: torch.device


class Steps:
    """The steps of one phase.

    Args:
        task: of the training.
        phase: its rate and epochs.
        feed: what is learnt from.
        frozen: how many blocks, from the stem up, do not learn.
        progress: where the training stands; its optimizer and average are gone on with.

    Attributes:
        learnt: what is measured and kept: the learner, or its average.
    """

    def __init__(self, task: Task, phase: Phase, feed: Feed, frozen: int, progress: Progress) -> None:
        self.task, self.phase, self.feed, self.number = task, phase, feed, progress.phase
        settings = task.settings
        self.optimizer = schedule.optimizer(task.model, phase, frozen, settings)
        self.scaler = torch.GradScaler(task.device.type, enabled=settings.precision == "fp16")
        self.average = Average(feed.learner, settings.average) if settings.average is not None else None
        self.learnt = feed.learner if self.average is None else self.average.learner
        if progress.optimizer:
            self.optimizer.load_state_dict(progress.optimizer)
            self.scaler.load_state_dict(progress.scaler)
            if self.average is not None:
                self.average.learner.load_state_dict(progress.average)
                self.average.steps = progress.epoch * -(-len(feed.train) // settings.accumulate)
        network: nn.Module = torch.compile(feed.learner) if settings.compile else feed.learner  # type: ignore[assignment]
        self.network = idist.auto_model(network) if idist.get_world_size() > 1 else network

    def keep(self, progress: Progress) -> None:
        """Everything that a killed training needs to go on."""
        progress.optimizer, progress.scaler = self.optimizer.state_dict(), self.scaler.state_dict()
        progress.average = {} if self.average is None else self.average.learner.state_dict()

    def epoch(self, number: int) -> float:
        """One epoch, from 1; returns its mean loss."""
        task, settings, steps = self.task, self.task.settings, len(self.feed.train)
        self.feed.train.epoch = number
        torch.manual_seed(mix(task.seed, self.number, number, idist.get_rank()))
        self.network.train()
        task.model.train()
        losses, updates = [], -(-steps // settings.accumulate)
        for step, batch in enumerate(self.feed.train, start=1):
            update = (number - 1) * updates + (step - 1) // settings.accumulate
            schedule.set_rates(self.optimizer, update, self.phase.epochs * updates, settings.warmup)
            # The last group may be smaller.
            share = 1 / min(settings.accumulate, steps - (step - 1) // settings.accumulate * settings.accumulate)
            losses.append(self._loss(batch, (number - 1) * steps + step - 1, share))
            if step % settings.accumulate == 0 or step == steps:
                self._update()
        mean = torch.stack(losses).mean()
        return float(idist.all_reduce(mean) / idist.get_world_size() if idist.get_world_size() > 1 else mean)

    def _loss(self, batch: Batch, place: int, share: float) -> torch.Tensor:
        """Forward and backward of a step that has `share` in an update; its loss, without waiting for it."""
        task, settings, mixed = self.task, self.task.settings, None
        generator = seeded(task.seed, self.number, place, *others_rank())
        on = batch.to(task.device)
        if self.feed.augmented:
            on = augmented(batch, on, settings, generator)
        if settings.mixup.alpha:
            mixed = mixing.draw(on, settings.mixup.alpha, generator)
            on = replace(on, targets=mixed.targets(on.targets))
            if settings.mixup.at == "slices":
                on, mixed = replace(on, values=mixed.values(on.values)), None
        dtype = PRECISION[settings.precision]
        with torch.autocast(task.device.type, dtype, enabled=dtype != torch.float32):
            rows = self.network(on.values, mixed)
        logits = pool(rows.float(), on.owner, len(on.targets), task.model.head.pooling)
        loss = task.loss(logits, on.targets)
        self.scaler.scale(loss * share).backward()  # type: ignore[no-untyped-call]
        return loss.detach()

    def _update(self) -> None:
        self.scaler.step(self.optimizer)
        self.scaler.update()
        self.optimizer.zero_grad(set_to_none=True)
        if self.average is not None:
            self.average.update(self.feed.learner)
