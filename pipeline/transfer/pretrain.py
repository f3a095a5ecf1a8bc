"""Pre-training of a small backbone on photographs, taught by larger networks; it runs on the reader's own images too.

    python -m pipeline.transfer.pretrain {decode,teach,train} [--recipe params.yaml] [--out trained]

Paths in the recipe are relative to the current folder. `dvc repro` in models/embedded runs the three steps. Training
goes on from its last checkpoint, however it ended.
"""

from __future__ import annotations

import argparse
import math
import sys
import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from timm.optim import param_groups_weight_decay
from timm.utils import ModelEmaV3
from torch import nn
from torch.nn import functional

from pipeline import config, typed_yaml
from pipeline.errors import DataError, PipelineError, TrainingError
from pipeline.progress import say
from pipeline.transfer import backbone, images, networks, pretrain_result, teachers, views
from pipeline.transfer.checkpoint import Checkpoint
from pipeline.transfer.images import Images
from pipeline.transfer.predict import device
from pipeline.transfer.recipe import Recipe

DECODED = Path("decoded")
TAUGHT = Path("taught.npy")
#: Images, about, whose teachers' features are standardised by.
_SAMPLE = 4096
#: Seconds between two lines about the training.
_LINE_EVERY_S = 60.0


class Student(nn.Module):
    """The network with its own head, and a second one that learns the teachers' features and is dropped at the end."""

    def __init__(self, recipe: Recipe, classes: int, taught: int) -> None:
        super().__init__()
        self.network = networks.create(recipe.network.name, recipe.network.options, classes)
        head = self.network.get_submodule(backbone.head_path(self.network))
        assert isinstance(head, nn.Linear)
        self.distilled = nn.Linear(head.in_features, taught)
        self._features = torch.empty(0)
        head.register_forward_pre_hook(self._keep)

    def _keep(self, _head: nn.Module, inputs: tuple[torch.Tensor, ...]) -> None:
        self._features = inputs[0]

    def forward(self, batch: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Normalised (B, 3, H, W) to scores of the classes (B, K) and the teachers' features (B, F)."""
        scores = self.network(batch)
        return scores, self.distilled(self._features)


class Pretraining:
    """One training of a student, resumable at any step.

    Args:
        recipe: what to train and how.
        train: the images.
        taught: float16 (V, N, F), features of the teachers for each view.
        checkpoint: where the state is kept.
    """

    def __init__(self, recipe: Recipe, train: Images, taught: np.ndarray, checkpoint: Checkpoint) -> None:
        self.recipe, self.train, self.taught, self.checkpoint = recipe, train, taught, checkpoint
        self.device = device()
        torch.manual_seed(recipe.seed)
        student = Student(recipe, len(train.classes), taught.shape[2])
        self.student = student.to(self.device, memory_format=torch.channels_last)  # type: ignore[call-overload]
        # Warm-up: without it, a short training's average would still hold much of the random start.
        self.ema = ModelEmaV3(self.student, decay=recipe.train.ema_decay, use_warmup=True)
        stated = backbone.source(recipe.network.name, self.student.network)
        self.mean, self.std = stated.mean, stated.std
        groups = param_groups_weight_decay(self.student, recipe.train.weight_decay)
        self.optimizer = torch.optim.AdamW(groups, lr=recipe.train.learning_rate)
        self.steps_an_epoch = len(train.labels) // recipe.train.batch
        sample = torch.from_numpy(taught[0, :: max(1, taught.shape[1] // _SAMPLE)].astype(np.float32))
        self.centre, self.spread = sample.mean(0).to(self.device), sample.std(0).clamp(min=1e-3).to(self.device)
        self.epoch = -1
        self.step, self.seconds = 0, 0.0

    def run(self) -> nn.Module:
        """Train to the end and return the averaged network, without the teachers' head, on the CPU.

        Raises:
            TrainingError: the loss is not finite.
        """
        self._resume()
        total = self.steps_an_epoch * self.recipe.train.epochs
        saved = said = time.monotonic()
        begin, losses = saved - self.seconds, []
        while self.step < total:
            self.step += 1
            losses.append(self._one_step(total))
            now = time.monotonic()
            if now - said > _LINE_EVERY_S or self.step == total:
                self._say(float(torch.stack(losses).mean()), now - begin)
                said, losses = now, []
            if now - saved > self.recipe.train.checkpoint_s or self.step == total:
                saved, self.seconds = now, now - begin
                self._save()
        averaged: nn.Module = self.ema.module.get_submodule("network")
        return averaged.cpu().eval()

    def _one_step(self, total: int) -> torch.Tensor:
        """One update; returns the loss without waiting for it."""
        settings, epoch = self.recipe.train, (self.step - 1) // self.steps_an_epoch
        for group in self.optimizer.param_groups:
            group["lr"] = settings.learning_rate * self._rate(self.step - 1, total)
        rows = self._rows(epoch, (self.step - 1) % self.steps_an_epoch)
        pixels, boxes = torch.from_numpy(self.train.pixels[rows]), torch.from_numpy(self.boxes[rows])
        batch = views.crop(pixels.to(self.device), boxes.to(self.device), settings.size)
        draw = np.random.default_rng([self.recipe.seed, epoch, self.step])
        batch = views.normalise(views.recolour(batch, draw), self.mean, self.std)
        labels = torch.from_numpy(self.train.labels[rows]).to(self.device)
        taught = torch.from_numpy(self.taught[epoch % len(self.taught), rows]).to(self.device).float()
        with torch.autocast(self.device.type, torch.bfloat16):
            scores, distilled = self.student.train()(batch)
        loss = self._loss(scores.float(), distilled.float(), labels, taught)
        self.optimizer.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        self.optimizer.step()
        self.ema.update(self.student, step=self.step)
        return loss.detach()

    def _loss(
        self, scores: torch.Tensor, distilled: torch.Tensor, labels: torch.Tensor, taught: torch.Tensor
    ) -> torch.Tensor:
        named = functional.cross_entropy(scores, labels, label_smoothing=self.recipe.train.label_smoothing)
        seen = functional.mse_loss(distilled, (taught - self.centre) / self.spread)
        return named + self.recipe.distil.weight * seen

    def _rate(self, step: int, total: int) -> float:
        """Share of the learning rate: linear warm-up, then a cosine to zero."""
        warm = self.recipe.train.warmup_epochs * self.steps_an_epoch
        if step < warm:
            return (step + 1) / warm
        return 0.5 * (1 + math.cos(math.pi * (step - warm) / max(1.0, total - warm)))

    def _rows(self, epoch: int, step: int) -> np.ndarray:
        """Sorted image numbers of a step: sorted, because they are read from a memory map."""
        if self.epoch != epoch:
            draw = np.random.default_rng([self.recipe.seed, epoch])
            self.epoch, self.order = epoch, draw.permutation(len(self.train.labels))
            self.boxes = views.boxes(len(self.order), epoch % len(self.taught))
        size = self.recipe.train.batch
        return np.sort(self.order[step * size : (step + 1) * size])

    def _say(self, loss: float, seconds: float) -> None:
        epoch = (self.step - 1) // self.steps_an_epoch + 1
        if not math.isfinite(loss):
            raise TrainingError("a finite loss", f"{loss} in epoch {epoch}", "Lower train.learning_rate.")
        say(f"train: epoch {epoch} of {self.recipe.train.epochs}, loss {loss:.4f}, {seconds / 60:.1f} min")

    def _save(self) -> None:
        parts = {"student": self.student, "ema": self.ema, "optimizer": self.optimizer}
        state = {name: part.state_dict() for name, part in parts.items()}
        self.checkpoint.save(state | {"step": self.step, "seconds": self.seconds})

    def _resume(self) -> None:
        found = self.checkpoint.load()
        if found is not None:
            self.student.load_state_dict(found["student"])
            self.ema.load_state_dict(found["ema"])
            self.optimizer.load_state_dict(found["optimizer"])
            self.step, self.seconds = found["step"], found["seconds"]
            say(f"train: resuming after step {self.step}, {self.seconds / 60:.1f} min")


def decode(recipe: Recipe) -> None:
    """Write `decoded/train` and `decoded/val`."""
    for side, source in (("train", recipe.images.train), ("val", recipe.images.val)):
        images.decode(source, DECODED / side, recipe.images.size)


def train(recipe: Recipe, out: Path) -> None:
    """Train on `decoded/` and `taught.npy`; write the backbone and its card to `out`.

    Raises:
        DataError: the validation images are of other classes.
        TrainingError: the loss is not finite.
        WeightsError: the network is larger than the recipe allows.
    """
    training, validation = (images.load(DECODED / side) for side in ("train", "val"))
    if training.classes != validation.classes:
        raise DataError("the same classes on both sides", "others in images.val", "Give the split of one data set.")
    key = recipe.model_dump(mode="json", exclude={"images": True, "max_megabytes": True})
    inputs = [DECODED / "train" / "pixels.npy", TAUGHT]
    checkpoint = Checkpoint(config.default_cache() / "pretrain", recipe.network.name, inputs, key)
    job = Pretraining(recipe, training, np.load(TAUGHT, mmap_mode="r"), checkpoint)
    pretrain_result.require_size(job.student.get_submodule("network"), recipe)
    network = job.run()
    pretrain_result.write(out, network, recipe, validation, len(training.labels), job.seconds)
    checkpoint.remove()


def main(arguments: Sequence[str]) -> int:
    """Run one step; exit 1 with the error on stderr."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("step", choices=["decode", "teach", "train"])
    parser.add_argument("--recipe", type=Path, default=Path("params.yaml"))
    parser.add_argument("--out", type=Path, default=Path("trained"), help="where `train` writes backbone and card")
    args = parser.parse_args(arguments)
    try:
        recipe = typed_yaml.read(args.recipe, Recipe)
        if args.step == "decode":
            decode(recipe)
        elif args.step == "teach":
            teachers.teach(recipe, images.load(DECODED / "train"), TAUGHT)
        else:
            train(recipe, args.out)
    except PipelineError as error:
        say(f"{type(error).__name__}: {error}")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
