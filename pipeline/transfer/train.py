"""Training in phases on MONAI's engines: head first, then more of the trunk, each at a lower rate."""

from __future__ import annotations

import copy
import math
from dataclasses import dataclass
from typing import Any

import torch
from ignite.engine import Engine, Events
from monai.engines import SupervisedEvaluator, SupervisedTrainer
from monai.handlers import ROCAUC, ValidationHandler
from monai.utils.enums import CommonKeys
from torch import nn
from torch.nn import functional

from pipeline.errors import TrainingError
from pipeline.progress import say
from pipeline.training_config import Finetune, Phase
from pipeline.transfer.augment import augment
from pipeline.transfer.batches import Batch, Loader, Units, pool
from pipeline.transfer.checkpoint import Checkpoint, Progress
from pipeline.transfer.model import TransferModel
from pipeline.transfer.predict import device

#: Slices a validation batch, about.
_VALIDATION_SLICES = 160


@dataclass(frozen=True)
class Material:
    """Training and validation units, as slices and (for a phase that only trains the head) as frozen features."""

    train: Units
    val: Units
    train_features: Units | None = None
    val_features: Units | None = None


class Training:
    """One training, resumable at every epoch.

    Args:
        name: what progress lines call it.
        model: changed in place; holds the best epoch's parameters after `run`.
        phases: in order, from the head up.
        settings: how each step is made.
        seed: with phase and epoch, decides order, draw, augmentation and dropout.
    """

    def __init__(
        self,
        name: str,
        model: TransferModel,
        phases: list[Phase],
        settings: Finetune,
        seed: int,
        checkpoint: Checkpoint,
    ) -> None:
        self.name, self.phases, self.settings, self.seed, self.checkpoint = name, phases, settings, seed, checkpoint
        self.device = device()
        self.model = model.to(self.device, memory_format=torch.channels_last)  # type: ignore[call-overload]
        self.progress = Progress()

    def run(self, material: Material) -> Progress:
        """Train all phases, going on from the last checkpoint if there is one.

        Raises:
            TrainingError: the loss is not finite.
        """
        found = self.checkpoint.load()
        if found is not None:
            self.progress = Progress(**found)
            self.model.load_state_dict(self.progress.model)
            phase = self.phases[min(self.progress.phase, len(self.phases) - 1)]
            say(f"{self.name}: resuming at phase {phase.name}, epoch {self.progress.epoch + 1}")
        while self.progress.phase < len(self.phases):
            self._phase(self.phases[self.progress.phase], material)
            self._next_phase()
        self.model.load_state_dict(self.progress.best)
        self.model.freeze(1.0)
        self.model.eval()
        return self.progress

    def _next_phase(self) -> None:
        """Each phase starts from the best epoch so far, with a fresh optimizer."""
        state = self.progress
        self.model.load_state_dict(state.best)
        state.phase, state.epoch, state.stale, state.optimizer = state.phase + 1, 0, 0, {}
        state.model = copy.deepcopy(state.best)
        self.checkpoint.save(vars(state))

    def _phase(self, phase: Phase, material: Material) -> None:
        learning = self.model.freeze(phase.trunk)
        cached = learning == 0 and material.train_features is not None and material.val_features is not None
        network: nn.Module = self.model.head if cached else self.model
        train, val = (material.train_features, material.val_features) if cached else (material.train, material.val)
        assert train is not None
        assert val is not None
        say(f"{self.name}: phase {phase.name}: {learning} blocks learn at {phase.learning_rate:g}")
        trainable = [parameter for parameter in network.parameters() if parameter.requires_grad]
        optimizer = torch.optim.AdamW(trainable, lr=phase.learning_rate, weight_decay=self.settings.weight_decay)
        if self.progress.optimizer:
            optimizer.load_state_dict(self.progress.optimizer)
        loader = Loader(
            train, self.settings.batch_slices, self.settings.slices_per_unit, (self.seed, self.progress.phase)
        )
        engine = self._trainer(phase, network, optimizer, loader, Loader(val, _VALIDATION_SLICES))
        if self.progress.epoch < phase.epochs and self.progress.stale < self.settings.patience:
            engine.state.epoch = self.progress.epoch
            engine.state.iteration = self.progress.epoch * len(loader)
            engine.run()

    def _trainer(
        self, phase: Phase, network: nn.Module, optimizer: torch.optim.Optimizer, loader: Loader, val_loader: Loader
    ) -> SupervisedTrainer:
        """MONAI's trainer with its evaluator, schedule, checkpoint and early stop."""
        evaluator = SupervisedEvaluator(
            device=self.device,
            val_data_loader=val_loader,
            network=network,
            iteration_update=self._evaluate,
            key_val_metric={"val_auroc": ROCAUC(output_transform=_scores)},
        )
        trainer = SupervisedTrainer(
            device=self.device,
            max_epochs=phase.epochs,
            train_data_loader=loader,
            network=network,
            optimizer=optimizer,
            loss_function=functional.binary_cross_entropy_with_logits,
            iteration_update=self._step,
        )
        total = phase.epochs * len(loader)

        def begin(engine: Engine) -> None:
            loader.epoch = engine.state.epoch
            torch.manual_seed(_mix(self.seed, self.progress.phase, engine.state.epoch))

        def rate(engine: Engine) -> None:
            share = (engine.state.iteration - 1) / total
            optimizer.param_groups[0]["lr"] = phase.learning_rate * 0.5 * (1 + math.cos(math.pi * share))

        trainer.add_event_handler(Events.EPOCH_STARTED, begin)
        trainer.add_event_handler(Events.ITERATION_STARTED, rate)
        losses: list[float] = []
        trainer.add_event_handler(Events.ITERATION_COMPLETED, lambda engine: losses.append(engine.state.output["loss"]))
        ValidationHandler(interval=1, validator=evaluator).attach(trainer)
        trainer.add_event_handler(Events.EPOCH_COMPLETED, self._keep, phase, evaluator, optimizer, losses)
        return trainer

    def _keep(
        self,
        engine: Engine,
        phase: Phase,
        evaluator: SupervisedEvaluator,
        optimizer: torch.optim.Optimizer,
        losses: list[float],
    ) -> None:
        """After each epoch: history, best, checkpoint, early stop."""
        state, auroc = self.progress, float(evaluator.state.metrics["val_auroc"])
        loss = sum(losses) / len(losses)
        losses.clear()
        if not math.isfinite(loss):
            raise TrainingError(
                "a finite loss",
                f"{loss} in phase {phase.name}",
                "Lower its learning_rate, or set finetune.precision: fp32.",
            )
        state.epoch = engine.state.epoch
        state.model = {key: value.detach().cpu().clone() for key, value in self.model.state_dict().items()}
        state.stale = 0 if auroc > state.best_auroc else state.stale + 1
        if auroc >= state.best_auroc:  # of equals, the one that has learnt longer
            state.best_auroc, state.best = auroc, state.model
        state.optimizer = optimizer.state_dict()
        state.history.append(
            {
                "phase": phase.name,
                "epoch": len(state.history) + 1,
                "learning_rate": phase.learning_rate,
                "train_loss": round(loss, 6),
                "val_auroc": round(auroc, 6),
            }
        )
        self.checkpoint.save(vars(state))
        say(f"{self.name}: {phase.name} {state.epoch}/{phase.epochs}: loss {loss:.4f}, validation AUROC {auroc:.4f}")
        if state.stale >= self.settings.patience:
            say(f"{self.name}: phase {phase.name} ends early, {state.stale} epochs without a better validation AUROC")
            engine.terminate()

    def _logits(self, network: nn.Module, batch: Batch, values: torch.Tensor) -> torch.Tensor:
        """Unit logits (B, 1) under the chosen precision.

        Autocast is opened here because MONAI's own opens it for CUDA whatever the device.
        """
        with torch.autocast(self.device.type, torch.bfloat16, enabled=self.settings.precision == "bf16"):
            rows = network(values)
        return pool(rows.float(), batch.owner.to(self.device), len(batch.labels))

    def _step(self, engine: SupervisedTrainer, batch: Batch) -> dict[str, Any]:
        engine.network.train()
        values = batch.values.to(self.device)
        if self.settings.augment is not None and values.ndim == 4:
            generator = torch.Generator().manual_seed(_mix(self.seed, self.progress.phase, engine.state.iteration))
            values = augment(values, batch.owner, generator, self.settings.augment)
        if values.ndim == 4:
            values = values.contiguous(memory_format=torch.channels_last)
        engine.optimizer.zero_grad(set_to_none=True)
        loss = engine.loss_function(self._logits(engine.network, batch, values), batch.labels.to(self.device))
        loss.backward()
        engine.optimizer.step()
        return {CommonKeys.LOSS: float(loss.detach())}

    def _evaluate(self, engine: SupervisedEvaluator, batch: Batch) -> dict[str, Any]:
        engine.network.eval()
        with torch.no_grad():
            logits = self._logits(engine.network, batch, batch.values.to(self.device))
        return {CommonKeys.PRED: logits.cpu(), CommonKeys.LABEL: batch.labels}


def _scores(output: dict[str, Any]) -> tuple[list[torch.Tensor], list[torch.Tensor]]:
    """MONAI's metrics take lists of one item a unit."""
    return list(output[CommonKeys.PRED]), list(output[CommonKeys.LABEL])


def _mix(*parts: int) -> int:
    """One seed from several numbers."""
    mixed = 0
    for part in parts:
        mixed = (mixed * 1_000_003 + part) % (2**63)
    return mixed
