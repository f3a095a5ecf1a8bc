"""Photographs of three classes, and the shipped recipe shrunk to them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
import yaml
from PIL import Image

from pipeline.transfer import backbone

#: The student and its teacher.
NAME = "test_resnet"
SIZE = 32
PERIODS = (4, 8, 16)
TRAIN, VAL = 32, 16


def shrink(folder: Path, recipe: Path) -> None:
    """Make folder/{train,val} of stripes, an untrained teacher.pth and a params.yaml made of `recipe`."""
    draw = np.random.default_rng(0)
    for side, count in (("train", TRAIN), ("val", VAL)):
        for label, period in enumerate(PERIODS):
            for number in range(count):
                wave = np.sin(np.arange(SIZE) * 2 * np.pi / period + draw.uniform(0, 6))
                noise = draw.normal(0, 20, (SIZE, SIZE, 3))
                pixels = (128 + 80 * wave[None, :, None] + noise).clip(0, 255).astype(np.uint8)
                path = folder / side / f"stripes{label}" / f"{number}.png"
                path.parent.mkdir(parents=True, exist_ok=True)
                Image.fromarray(pixels).save(path)
    torch.manual_seed(0)
    torch.save(backbone.create(NAME, {}, 5).state_dict(), folder / "teacher.pth")
    settings = yaml.safe_load(recipe.read_text())
    settings["images"] |= {"train": "train", "val": "val", "size": SIZE}
    settings["network"] = {"name": NAME, "options": {}}
    teacher = {"name": NAME, "weights": "file", "file": "teacher.pth", "size": SIZE}
    settings["teachers"] = [teacher] * len(settings["teachers"])
    settings["distil"] |= {"views": 2, "weight": 1.0}
    settings["train"] |= {"size": SIZE, "epochs": 6, "batch": 16, "ema_decay": 0.8}
    (folder / "params.yaml").write_text(yaml.safe_dump(settings))
