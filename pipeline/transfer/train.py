"""Training in phases: head first, then more of the trunk, each at a lower rate."""

from __future__ import annotations

import copy
from collections.abc import Callable
from dataclasses import dataclass
from itertools import pairwise

import ignite.distributed as idist
import numpy as np
import numpy.typing as npt
import torch

from pipeline.contract import TaskKind
from pipeline.errors import ConfigError, TrainingError
from pipeline.progress import say
from pipeline.training_config import START, Finetune, Phase
from pipeline.transfer import layers, objective
from pipeline.transfer.batches import Bags
from pipeline.transfer.checkpoint import Checkpoint, Progress
from pipeline.transfer.distributed import first, same_buffers
from pipeline.transfer.feed import PRECISION, Feed, Feeder
from pipeline.transfer.learner import Learner, state_with, unit_logits
from pipeline.transfer.model import TransferModel
from pipeline.transfer.predict import device
from pipeline.transfer.steps import Steps, Task


@dataclass(frozen=True)
class Material:
    """Training and validation units, as slices, and what their targets mean."""

    train: Bags
    val: Bags
    kind: TaskKind = "binary"


class Training:
    """One training, resumable at every epoch.

    Args:
        name: what progress lines call it.
        model: changed in place; holds the best epoch's parameters after `run`.
        phases: in order, from the head up.
        settings: how each step is made.
        seed: with phase and epoch, decides order, draw, augmentation and dropout.
        checkpoint: in the cache directory; recordings go beside it.
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
        self.device = idist.device() if idist.get_world_size() > 1 else device()
        self.model = model.to(self.device, memory_format=torch.channels_last)  # type: ignore[call-overload]
        self.progress = Progress()
        self.after_epoch: Callable[[], None] = lambda: None

    def run(self, material: Material) -> Progress:
        """Train all phases, going on from the last checkpoint if there is one.

        Raises:
            TrainingError: the loss is not finite, or the checkpoint is of other code.
            ConfigError: a phase names a block that the trunk does not have, or unfreezes less than the one before.
            SplitError: a side on which no class can be learnt or measured.
        """
        settings = self.settings
        weights = objective.balanced(material.kind, material.train.targets) if settings.class_weights else None
        loss = objective.Objective(material.kind, weights, settings.label_smoothing)
        self.task = Task(self.model, loss, settings, self.seed, self.device)
        self._require_order()
        folder = self.checkpoint.recordings(idist.get_rank(), idist.get_world_size())
        feeder = Feeder(self.model, settings, material.train, material.val, folder, self.seed)
        self._resume()
        while self.progress.phase < len(self.phases):
            try:
                self._phase(self.phases[self.progress.phase], feeder)
            except TrainingError:
                # Other settings, by which it may succeed, record anew.
                feeder.forget(self.progress.phase)
                raise
            self._next_phase()
            feeder.forget(self.progress.phase - 1)
        self.model.load_state_dict(self.progress.best)
        bias = self.model.head.logits.bias
        bias.data.copy_(loss.unweighted(bias.data))
        self.model.freeze(1.0)
        self.model.eval()
        return self.progress

    def _require_order(self) -> None:
        """Of a share and a block's name only the trunk tells which unfreezes more."""
        frozen = [layers.place(self.model.trunk, phase.trunk) for phase in self.phases]
        for (before, earlier), (after, later) in pairwise(zip(frozen, self.phases, strict=True)):
            if after > before:
                raise ConfigError(
                    "finetune.phases from the head up",
                    f"{later.name!r} (trunk: {later.trunk}), which unfreezes less of the trunk than {earlier.name!r} "
                    f"(trunk: {earlier.trunk}): {after} frozen blocks after {before}",
                    "Put the phases in order, or name a lower block.",
                )

    def _resume(self) -> None:
        found = self.checkpoint.load()
        self._require_one_place([found["phase"], found["epoch"]] if found else [-1, -1])
        if found is None:
            return
        self.progress = Progress(**found)
        self.model.load_state_dict(self.progress.model)
        phase = self.phases[min(self.progress.phase, len(self.phases) - 1)]
        self._say(f"resuming at phase {phase.name}, epoch {self.progress.epoch + 1}")

    def _require_one_place(self, own: list[int]) -> None:
        """All processes wait here for each other: the first removes the checkpoint as soon as it has ended."""
        if idist.get_world_size() == 1:
            return
        places = idist.all_gather(torch.tensor([own], device=self.device)).tolist()
        if any(place != own for place in places):
            raise ConfigError(
                "one checkpoint for all processes",
                "phases and epochs (from 0; -1: no checkpoint) "
                + ", ".join(f"{phase} {epoch}" for phase, epoch in places),
                "Name a cache_dir that all machines share.",
            )

    def _next_phase(self) -> None:
        """Each phase starts from the best epoch so far, with a fresh optimizer."""
        state = self.progress
        self.model.load_state_dict(state.best)
        state.phase, state.epoch, state.stale, state.optimizer, state.average = state.phase + 1, 0, 0, {}, {}
        state.model = copy.deepcopy(state.best)
        self._save()

    def _phase(self, phase: Phase, feeder: Feeder) -> None:
        state = self.progress
        frozen = self.model.freeze(phase.trunk)
        feed = feeder.phase(state.phase, phase, frozen)
        self._say(f"phase {phase.name}: {feed.said} at {phase.learning_rate:g}")
        if not state.history:
            self._record(phase, feed, feed.learner, None)
        steps = Steps(self.task, phase, feed, frozen, state)
        while state.epoch < phase.epochs and state.stale < self.settings.patience:
            loss = steps.epoch(state.epoch + 1)
            self._require_finite("loss", loss, phase, state.epoch + 1)
            state.epoch += 1
            self._record(phase, feed, steps.learnt, loss)
            steps.keep(state)
            state.model = state_with(self.model, feed.learner, feed.learner)
            self._save()
            row = state.history[-1]
            said = f"loss {loss:.4f}, validation loss {row['val_loss']:.4f}, AUROC {row['val_auroc']:.4f}"
            self._say(f"{phase.name} {state.epoch}/{phase.epochs}: {said}")
            self.after_epoch()
        if state.stale >= self.settings.patience:
            self._say(f"phase {phase.name} ends, {state.stale} epochs clearly worse than the best by validation loss")

    def _record(self, phase: Phase, feed: Feed, learnt: Learner, loss: float | None) -> None:
        """History, curve and best, after an epoch; `loss` None: before the first."""
        state, kind, targets = self.progress, self.task.loss.kind, feed.val.targets
        same_buffers(learnt)
        taught = unit_logits(learnt, feed.val, self.device, PRECISION[self.settings.precision])
        self._require_finite("validation logit", float(np.abs(taught).max()), phase, state.epoch)
        logits = self.task.loss.unweighted(torch.from_numpy(taught))
        auroc = objective.auroc(kind, targets, logits.numpy())
        losses = objective.unit_losses(kind, targets, logits.numpy())
        learning, world = loss is not None, idist.get_world_size()
        kept = learning and self._is_kept(losses)
        state.curve.append(logits)
        last = state.history[-1] if state.history else {"slices": 0, "passes": 0.0}
        state.history.append(
            {
                "phase": phase.name if learning else START,
                "epoch": len(state.history),
                "learning_rate": phase.learning_rate if learning else "",
                "train_loss": round(loss, 6) if loss is not None else "",
                "val_auroc": round(auroc, 6),
                "val_loss": round(float(losses.mean()), 6),
                "kept": int(kept),
                "slices": last["slices"] + (feed.train.slices * world if learning else 0),
                "passes": round(last["passes"] + (feed.passes(state.epoch) * world if learning else 0), 1),
            }
        )
        if kept:
            state.kept_auroc, state.best = auroc, state_with(self.model, feed.learner, learnt)
        state.stale = 0 if kept or not learning else state.stale + 1

    def _require_finite(self, what: str, value: float, phase: Phase, epoch: int) -> None:
        if np.isfinite(value):
            return
        kept = f" The epochs before it are kept: {self.checkpoint.path}." if self.checkpoint.path.exists() else ""
        raise TrainingError(
            f"a finite {what}",
            f"{value} in phase {phase.name}, epoch {epoch}",
            f"Lower its learning_rate, or set finetune.precision: fp32.{kept}",
        )

    def _is_kept(self, losses: npt.NDArray[np.float64]) -> bool:
        """Whether the epoch of these validation losses is the best so far, or about as good and has learnt longer."""
        least = self.progress.least.numpy()
        if not len(least) or losses.mean() < least.mean():
            self.progress.least = torch.from_numpy(losses)
            return True
        return not objective.clearly_worse(losses, least)

    def _save(self) -> None:
        if first():
            self.checkpoint.save(vars(self.progress))
        idist.barrier()

    def _say(self, text: str) -> None:
        if first():
            say(f"{self.name}: {text}")
