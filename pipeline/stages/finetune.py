"""Fine-tuning in phases from the head up; also the control that starts from random weights."""

from __future__ import annotations

from functools import partial
from pathlib import Path

import numpy as np
import torch

from pipeline.clinical.report import environment
from pipeline.config import Params
from pipeline.files import read_csv, write_atomic, write_csv
from pipeline.progress import say
from pipeline.stages import runner
from pipeline.training_config import Finetune, Phase
from pipeline.transfer.batches import bags_of
from pipeline.transfer.checkpoint import ABANDONED_DAYS, Checkpoint, remove_abandoned
from pipeline.transfer.distributed import first, launch
from pipeline.transfer.model import from_backbone, save_model
from pipeline.transfer.train import Material, Training

PREPARED, BACKBONE = Path("data/prepared"), Path("models/backbone")


def finetune(params: Params) -> None:
    """Write `models/finetuned/`: the model of the epoch that is kept, its history and its curve."""
    for folder in remove_abandoned(params.cache("checkpoints")):
        say(f"removed {folder}: a training that nobody went on with for {ABANDONED_DAYS} days")
    settings = params.finetune
    launch(train, settings.processes, params, "finetuned", settings.phases, settings, True)


def train(params: Params, name: str, phases: list[Phase], settings: Finetune, pretrained: bool) -> None:
    """Train `phases` on the prepared slices into `models/<name>/`, from the last checkpoint if there is one."""
    torch.manual_seed(params.seed)
    targets = params.data.targets
    model = from_backbone(
        BACKBONE,
        params.prepare.size,
        settings.dropout,
        pretrained=pretrained,
        outputs=targets.outputs,
        pooling=settings.pooling,
    )
    slices = np.load(PREPARED / "slices.npy", mmap_mode="r")
    index = read_csv(PREPARED / "slices.csv")
    inputs = [
        PREPARED / "slices.npy",
        PREPARED / "slices.csv",
        BACKBONE / "backbone.safetensors",
        BACKBONE / "card.json",
    ]
    chosen = settings.model_dump() | {
        "phases": [phase.model_dump() for phase in phases],
        "targets": [targets.kind, targets.outputs],
    }
    checkpoint = Checkpoint(params.cache("checkpoints"), name, inputs, chosen | {"seed": params.seed})
    sides = [bags_of(slices, index, side, targets) for side in ("train", "val")]
    material = Material(sides[0], sides[1], targets.kind)
    training = Training(name, model, phases, settings, params.seed, checkpoint)
    if not first():
        training.run(material)
        return
    with checkpoint.held():
        result = training.run(material)
        out = Path("models") / name
        save_model(training.model, out, BACKBONE, {"pretrained": pretrained, "val_auroc": round(result.kept_auroc, 6)})
        write_csv(out / "history.csv", result.history[0].keys(), result.history)
        curve = torch.stack(result.curve).numpy()
        write_atomic(out / "curve.npz", lambda handle: np.savez(handle, logits=curve))
        checkpoint.remove()
    say(f"{name}: validation AUROC {result.kept_auroc:.4f} of the epoch that is kept")


if __name__ == "__main__":
    runner.run("finetune", finetune, partial(environment.trained, "finetuned"))
