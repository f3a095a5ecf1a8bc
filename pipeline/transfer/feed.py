"""What a phase trains on: slices, or what the frozen part of the trunk made of them."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import ignite.distributed as idist
import torch

from pipeline.training_config import Finetune, Phase
from pipeline.transfer import boundary, layers
from pipeline.transfer.augment import augment
from pipeline.transfer.batches import Bags, Batch, Loader, units_a_batch
from pipeline.transfer.distributed import others_rank
from pipeline.transfer.learner import Learner, work
from pipeline.transfer.model import TransferModel
from pipeline.transfer.recordings import Recording, affordable

PRECISION = {"bf16": torch.bfloat16, "fp16": torch.float16, "fp32": torch.float32}

#: Slices a batch whose activations are recorded, about; nothing is learnt, so they may be many.
_RECORDED_SLICES = 128


@dataclass(frozen=True)
class Feed:
    """One phase's learner and what it is fed with.

    Attributes:
        learner: what runs in a step.
        train: batches of training units, by epoch; slices where `augmented`.
        val: validation units at the learner's input.
        augmented: whether its batches are slices, which each step augments.
        once: work of a draw's recording, in passes of one slice forward through the trunk, times slices.
        each: work of one slice in a step; a backward pass counts as two forward.
        copies: recorded draws; 0: none.
        said: in words.
    """

    learner: Learner
    train: Loader | Replay
    val: Bags
    augmented: bool
    once: float
    each: float
    copies: int
    said: str

    def passes(self, epoch: int) -> float:
        """The work of epoch `epoch` (from 1): how often a slice went through the whole trunk, a step back as two."""
        return self.train.slices * (self.each + (self.once if epoch <= self.copies else 0))


class Replay:
    """Recorded draws, one an epoch, in turn.

    Args:
        recording: of the training units.
        copies: how many draws there are.
        batch_units: units a batch.
        seed: decides the order.
    """

    def __init__(self, recording: Recording, copies: int, batch_units: int, seed: tuple[int, ...]) -> None:
        self.recording, self.copies, self.batch_units, self.seed = recording, copies, batch_units, seed
        self.slices, self.epoch = recording.loader.slices, 0

    def __len__(self) -> int:
        return len(Loader(self.recording.loader.bags, self.batch_units, self.seed))

    def __iter__(self) -> Iterator[Batch]:
        loader = Loader(self.recording.draw((self.epoch - 1) % self.copies), self.batch_units, self.seed)
        loader.epoch = self.epoch
        yield from loader


class Feeder:
    """Makes the feed of each phase.

    Args:
        model: whose trunk is frozen for the phase.
        settings: batches, augmentation and recordings.
        train, val: all training and validation units, as slices; of the training units, several times over where
            they are few (`least_steps`), each process has a share.
        folder: of recordings, in the cache directory; another one each process.
        seed: of the training.
    """

    def __init__(
        self, model: TransferModel, settings: Finetune, train: Bags, val: Bags, folder: Path, seed: int
    ) -> None:
        self.model, self.settings, self.folder, self.seed = model, settings, folder, seed
        self.world = idist.get_world_size()
        self.device = next(model.parameters()).device
        # Of all units, as what follows for recordings: processes that differed would wait for each other for ever.
        together = units_a_batch(train, settings.batch_slices, settings.slices_per_unit)
        self.batch_units = max(1, round(together / self.world))
        self.all = train.turns(self.batch_units * self.world, settings.least_steps)
        self.train, self.val = self.all.shard(idist.get_rank(), self.world, seed), val

    def phase(self, number: int, phase: Phase, frozen: int) -> Feed:
        """The feed of phase `number`, of whose trunk `frozen` blocks do not learn."""
        count = len(layers.blocks(self.model.trunk))
        halves = boundary.split(self.model.trunk, frozen, self._slice(2)) if frozen else None
        # What is recorded cannot be mixed as slices any more.
        mixed = self.settings.mixup.alpha > 0 and self.settings.mixup.at == "slices"
        if halves is not None and not mixed:
            recorded = self._recorded(number, phase, *halves, said=f"{count - frozen} of {count} blocks learn")
            if recorded is not None:
                return recorded
        loader = Loader(self.train, self.batch_units, (self.seed, number), self.settings.slices_per_unit)
        whole = work(self.model.trunk, self._slice())
        behind = work(halves[1], halves[0](self._slice())) / whole if halves is not None else 1.0
        return Feed(
            learner=Learner(self.model.trunk, self.model.head),
            train=loader,
            val=self.val,
            augmented=True,
            once=0.0,
            each=1 + 2 * behind,
            copies=0,
            said=f"{count - frozen} of {count} blocks learn",
        )

    def _recorded(
        self, number: int, phase: Phase, prefix: torch.nn.Module, suffix: torch.nn.Module, said: str
    ) -> Feed | None:
        """The feed at the boundary, if its recordings fit."""
        with torch.no_grad():
            prefix.eval()
            shape = tuple(prefix(self._slice()).shape[1:])
        draws = Loader(
            self.train,
            units_a_batch(self.all, _RECORDED_SLICES, self.settings.slices_per_unit),
            (self.seed, number),
            self.settings.slices_per_unit,
            shuffle=False,
        )
        drawn_in_all = Loader(self.all, 1, slices_per_unit=self.settings.slices_per_unit).slices
        once = sum(map(len, self.val.rows)) * self.world
        copies = affordable(shape, drawn_in_all, once, phase.epochs, self.settings.recordings)
        if copies == 0:
            return None
        whole = work(self.model.trunk, self._slice())
        ahead = work(prefix, self._slice()) / whole
        folder, title, dtype = self.folder / str(number), f"record {phase.name}", PRECISION[self.settings.precision]
        all_of_val = Loader(self.val, units_a_batch(self.val, _RECORDED_SLICES), shuffle=False)
        plain = Recording(folder / "val", prefix, all_of_val, self._unchanged, f"{title}: validation", dtype)
        drawn = Recording(folder / "train", prefix, draws, self._changed, f"{title}: draw", dtype)
        return Feed(
            learner=Learner(suffix, self.model.head),
            train=Replay(drawn, copies, self.batch_units, (self.seed, number)),
            val=plain.draw(0),
            augmented=False,
            once=ahead,
            each=3 * (1 - ahead),
            copies=copies,
            said=f"{said}, on {copies} recorded draws of {shape} a slice",
        )

    def forget(self, number: int) -> None:
        """Remove the recordings of a phase that is over."""
        shutil.rmtree(self.folder / str(number), ignore_errors=True)

    def _slice(self, count: int = 1) -> torch.Tensor:
        size = self.train.values.shape[-1]
        return torch.rand(count, 1, size, size, generator=seeded(self.seed)).to(self.device)

    def _unchanged(self, batch: Batch, _draw: int, _place: int) -> Batch:
        return batch.to(self.device)

    def _changed(self, batch: Batch, draw: int, place: int) -> Batch:
        return augmented(batch, batch.to(self.device), self.settings, seeded(self.seed, 7, draw, place, *others_rank()))


def augmented(batch: Batch, on: Batch, settings: Finetune, generator: torch.Generator) -> Batch:
    """Slices changed as `settings` say.

    Args:
        batch: on the CPU, whose `owner` nobody has to wait for.
        on: the same on its device.
        settings: what may happen.
        generator: on the CPU.
    """
    if settings.augment is None:
        return on
    return replace(on, values=augment(on.values, batch.owner, generator, settings.augment))


def seeded(*parts: int) -> torch.Generator:
    """A generator on the CPU."""
    return torch.Generator().manual_seed(mix(*parts))


def mix(*parts: int) -> int:
    """One seed from several numbers."""
    mixed = 0
    for part in parts:
        mixed = (mixed * 1_000_003 + part) % (2**63)
    return mixed
