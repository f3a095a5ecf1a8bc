"""Fine-tuning in phases from the head up; also the control that starts from random weights."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch

from pipeline.config import Params
from pipeline.files import read_csv, write_csv
from pipeline.progress import say
from pipeline.stages import runner
from pipeline.training_config import Phase
from pipeline.transfer.batches import units_of
from pipeline.transfer.checkpoint import Checkpoint
from pipeline.transfer.model import from_backbone, save_model
from pipeline.transfer.train import Material, Training

PREPARED, BACKBONE, FEATURES = Path("data/prepared"), Path("models/backbone"), Path("data/features/features.npy")


def finetune(params: Params) -> None:
    """Write `models/finetuned/`: the model of the best validation AUROC and its history."""
    train(params, "finetuned", params.finetune.phases, pretrained=True)


def train(params: Params, name: str, phases: list[Phase], *, pretrained: bool) -> None:
    """Train `phases` on the prepared slices into `models/<name>/`, from the last checkpoint if there is one."""
    torch.manual_seed(params.seed)
    model = from_backbone(BACKBONE, params.prepare.size, params.finetune.dropout, pretrained=pretrained)
    slices = np.load(PREPARED / "slices.npy", mmap_mode="r")
    index = read_csv(PREPARED / "slices.csv")
    inputs = [
        PREPARED / "slices.npy",
        PREPARED / "slices.csv",
        BACKBONE / "backbone.safetensors",
        BACKBONE / "card.json",
    ]
    settings = params.finetune.model_dump() | {"phases": [phase.model_dump() for phase in phases], "seed": params.seed}
    checkpoint = Checkpoint(params.cache("checkpoints"), name, inputs, settings)
    cached = {}
    if pretrained:
        values = np.load(FEATURES, mmap_mode="r")
        cached = {
            "train_features": units_of(values, index, "train"),
            "val_features": units_of(values, index, "val"),
        }
    material = Material(units_of(slices, index, "train"), units_of(slices, index, "val"), **cached)
    training = Training(name, model, phases, params.finetune, params.seed, checkpoint)
    result = training.run(material)
    out = Path("models") / name
    save_model(training.model, out, BACKBONE, {"pretrained": pretrained, "val_auroc": round(result.best_auroc, 6)})
    write_csv(out / "history.csv", result.history[0].keys(), result.history)
    checkpoint.remove()
    say(f"{name}: best validation AUROC {result.best_auroc:.4f}")


if __name__ == "__main__":
    runner.run("finetune", finetune)
