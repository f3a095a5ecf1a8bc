"""A small real network, its backbone folder, and slices that can be learnt."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from pipeline.files import write_json
from pipeline.targets import Targets
from pipeline.transfer import stem
from pipeline.transfer.backbone import source, trunk
from pipeline.transfer.batches import bags_of
from pipeline.transfer.networks import create
from pipeline.transfer.train import Material

NAME = "resnet10t"


@pytest.fixture(scope="session")
def weights_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Random but fixed weights of a small network, under its own tensor names."""
    torch.manual_seed(5)
    network = create(NAME, {})
    path = tmp_path_factory.mktemp("weights") / f"{NAME}.safetensors"
    save_file(network.state_dict(), path)
    return path


@pytest.fixture(scope="session")
def backbone_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What the backbone stage leaves, for that network at half its width: trainings of it take seconds."""
    torch.manual_seed(5)
    folder = tmp_path_factory.mktemp("backbone")
    options = {"channels": [32, 64, 128, 256]}
    network = create(NAME, options)
    stated = source(NAME, network)
    adapted = trunk(stem.adapt(network, NAME, stated.mean, stated.std))
    save_file({key: value.contiguous() for key, value in adapted.state_dict().items()}, folder / "backbone.safetensors")
    write_json(folder / "card.json", {"name": NAME, "options": options})
    return folder


@pytest.fixture(scope="session")
def blobs() -> tuple[np.ndarray, list[dict[str, str]]]:
    """Slices (N, 32, 32) of 60 series of 4 slices, half with a bright blob, and their index."""
    rng = np.random.default_rng(1)
    slices = rng.integers(20, 90, (240, 32, 32)).astype(np.uint8)
    index = []
    for row in range(240):
        series = row // 4
        label = series % 2
        if label:
            y, x = rng.integers(6, 20, 2)
            slices[row, y : y + 6, x : x + 6] += 120
        split = "train" if series < 36 else "val" if series < 48 else "test"
        index.append({"unit": f"S{series}", "patient": f"P{series}", "label": str(label), "split": split})
    return slices, index


@pytest.fixture
def material(blobs: tuple[np.ndarray, list[dict[str, str]]]) -> Material:
    """Their training and validation series."""
    return Material(*(bags_of(*blobs, side, Targets("binary", ("0", "1"))) for side in ("train", "val")))
