"""How soon fine-tuning reaches what plain loops reach, side by side on a workspace's prepared slices.

    python -m tests.benchmarks.training WORKSPACE [--rounds 3] [--epochs 12] [--rate 3e-4] [--threads 1]
        [--set finetune.warmup=0.1 ...]

WORKSPACE is a checkout in which `dvc repro backbone prepare` has run. The plain loop and the timm-style loop of
`tests.benchmarks.loops`, and the phases of params.yaml, get the same weights, training and validation units,
augmentation, precision and layout. They take turns, `--rounds` times, each whole training in turn, so that a busy
machine is busy for all of them; validation is not counted for the loops and is for ours.

Prints, as medians of the rounds: seconds an epoch in which the trunk learns (from the second of a phase on recordings),
seconds to the validation AUROC that the plain loop ends with (the first epoch there that the next one holds, of all
three alike), and both as ratios of the same round.
"""

from __future__ import annotations

import argparse
import os
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from pipeline.config import Params
from pipeline.files import read_csv
from pipeline.transfer.batches import bags_of
from pipeline.transfer.checkpoint import Checkpoint
from pipeline.transfer.model import TransferModel, from_backbone
from pipeline.transfer.train import Material, Training
from tests.benchmarks import loops
from tests.benchmarks.accuracy import BACKBONE, PREPARED, parameters

LOOPS = {"plain": loops.plain, "timm-style": loops.timm_style}


@dataclass(frozen=True)
class Trace:
    """Seconds and validation AUROC after each epoch, and which epochs' seconds are those of an epoch."""

    seconds: list[float]
    auroc: list[float]
    trunk: list[bool]

    @property
    def epoch(self) -> float:
        """Median seconds of an epoch in which the trunk learns."""
        each = np.diff([0.0, *self.seconds])
        return float(np.median([s for s, counted in zip(each, self.trunk, strict=True) if counted]))

    def until(self, level: float) -> float:
        """Seconds to the first epoch at `level` that the next one holds, if there is one; else infinite."""
        held = [*map(min, self.auroc, self.auroc[1:]), self.auroc[-1]]
        return next((s for s, auroc in zip(self.seconds, held, strict=True) if auroc >= level), float("inf"))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("workspace", type=Path)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--epochs", type=int, default=12)
    parser.add_argument("--rate", type=float, default=3e-4)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--set", nargs="+", default=[], metavar="KEY=VALUE", help="parameters, as for pipeline.params")
    args = parser.parse_args()
    os.chdir(args.workspace)
    torch.set_num_threads(args.threads)
    params = parameters(args.set)
    rounds = [one_round(params, args.epochs, args.rate, params.seed + number) for number in range(args.rounds)]
    table(rounds)


def one_round(params: Params, epochs: int, rate: float, seed: int) -> dict[str, Trace]:
    """Every way once."""
    targets, settings = params.data.targets, params.finetune
    slices, index = np.load(PREPARED / "slices.npy", mmap_mode="r"), read_csv(PREPARED / "slices.csv")
    train, val = (bags_of(slices, index, side, targets) for side in ("train", "val"))
    found = {}
    for name, loop in LOOPS.items():
        given = loops.Setting(train, val, settings, epochs, rate, seed)
        each = [(epoch.seconds, epoch.auroc) for epoch in loop(_model(params, seed), given)]
        found[name] = Trace(*map(list, zip(*each, strict=True)), [True] * epochs)  # type: ignore[arg-type]
        print(f"{name}: {found[name].seconds[-1]:.0f} s, ends with {found[name].auroc[-1]:.3f}", flush=True)
    found["ours"] = ours(params, Material(train, val, targets.kind), seed)
    print(f"ours: {found['ours'].seconds[-1]:.0f} s, best {max(found['ours'].auroc):.3f}", flush=True)
    return found


def ours(params: Params, material: Material, seed: int) -> Trace:
    """The phases of params.yaml, from weights to the last epoch; recordings and validation are counted."""
    seconds: list[float] = []
    with tempfile.TemporaryDirectory() as folder:
        checkpoint = Checkpoint(Path(folder), "ours", [], {"seed": seed})
        training = Training("ours", _model(params, seed), params.finetune.phases, params.finetune, seed, checkpoint)
        begin = time.perf_counter()
        training.after_epoch = lambda: seconds.append(time.perf_counter() - begin)
        history = training.run(material).history[1:]
    head = {phase.name for phase in params.finetune.phases if phase.trunk == 0}
    return Trace(seconds, [row["val_auroc"] for row in history], [row["phase"] not in head for row in history])


def _model(params: Params, seed: int) -> TransferModel:
    torch.manual_seed(seed)
    settings, outputs = params.finetune, params.data.targets.outputs
    size, pooling = params.prepare.size, settings.pooling
    return from_backbone(BACKBONE, size, settings.dropout, pretrained=True, outputs=outputs, pooling=pooling)


def table(rounds: Sequence[dict[str, Trace]]) -> None:
    """A line a way; ratios are of the plain loop to it, in each round."""
    print(
        f"{'':12} {'s an epoch':>10} {'ratio':>7} {'s to level':>10} {'sooner':>7}   level: the plain loop's last epoch"
    )
    for name in rounds[0]:
        epoch = np.median([each[name].epoch for each in rounds])
        levels = [each["plain"].auroc[-1] for each in rounds]
        until = [each[name].until(level) for each, level in zip(rounds, levels, strict=True)]
        faster = np.median([each["plain"].epoch / each[name].epoch for each in rounds])
        sooner = np.median(
            [each["plain"].until(level) / own for each, level, own in zip(rounds, levels, until, strict=True)]
        )
        print(f"{name:12} {epoch:10.2f} {faster:6.2f}x {np.median(until):10.1f} {sooner:6.2f}x")


if __name__ == "__main__":
    main()
