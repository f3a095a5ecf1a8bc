"""A small embedded backbone as this project keeps one, of a network that nobody trained; its card says so."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import timm
import torch
from safetensors.torch import save_file

from pipeline.files import sha256_file, write_json
from pipeline.transfer.pretrain_result import halved

NAME, OPTIONS = "resnet18", {"channels": [8, 8, 16, 16]}
CLASSES = 7
DATA = "no images: untrained, for tests"


def make(project: Path, **changes: Any) -> dict[str, Any]:
    """Write `models/embedded` of a project; returns its card.

    Args:
        project: its folder.
        changes: of the card.
    """
    folder = project / "models/embedded"
    folder.mkdir(parents=True, exist_ok=True)
    torch.manual_seed(3)
    network = timm.create_model(NAME, pretrained=False, num_classes=CLASSES, **OPTIONS)
    save_file(halved(network), folder / "backbone.safetensors")
    card = {
        "name": NAME,
        "options": OPTIONS,
        "data": DATA,
        "classes": CLASSES,
        "resolution": 64,
        "epochs": 1,
        "top1": round(1 / CLASSES, 4),
        "top1_images": 7,
        "teachers": [],
        "licence": "weights of nobody's images, for non-commercial tests",
        "mean": [0.4, 0.5, 0.6],
        "std": [0.2, 0.25, 0.3],
        "sha256": sha256_file(folder / "backbone.safetensors"),
        **changes,
    }
    write_json(folder / "card.json", card)
    return card
