"""What pre-training ends in: half-precision weights, and the card that says what they are."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import timm
import torch
from safetensors.torch import save
from torch import nn

from pipeline.errors import WeightsError
from pipeline.files import sha256_file, write_atomic, write_json
from pipeline.progress import say
from pipeline.transfer import backbone, views
from pipeline.transfer.embedded import CARD, FILE
from pipeline.transfer.images import Images
from pipeline.transfer.predict import device
from pipeline.transfer.recipe import Recipe

_BATCH = 256


def write(out: Path, network: nn.Module, recipe: Recipe, validation: Images, train_images: int, seconds: float) -> None:
    """Write `backbone.safetensors` and `card.json` in `out`.

    The top-1 of the card is of the network as it was written, in half precision.

    Args:
        out: the folder.
        network: the trained RGB network with its own head.
        recipe: what it was trained by.
        validation: images that it never saw.
        train_images: how many it saw.
        seconds: of training.
    """
    state = halved(network)
    network.load_state_dict(state)
    write_atomic(out / FILE, lambda handle: handle.write(save(state)))
    stated = backbone.source(recipe.network.name, network)
    top1 = accuracy(network, validation, recipe.train.size, stated.mean, stated.std)
    say(f"train: top-1 {top1:.4f} on {len(validation.labels)} validation images")
    measured = {
        "classes": len(validation.classes),
        "train_images": train_images,
        "minutes": round(seconds / 60, 1),
        "device": torch.cuda.get_device_name()
        if device().type == "cuda"
        else f"CPU, {torch.get_num_threads()} threads",
        "top1": round(top1, 4),
        "top1_images": len(validation.labels),
        "mean": stated.mean,
        "std": stated.std,
        "versions": {"torch": torch.__version__, "timm": timm.__version__},
        "sha256": sha256_file(out / FILE),
    }
    write_json(out / CARD, _settings(recipe) | measured)


def _settings(recipe: Recipe) -> dict[str, Any]:
    """What the card repeats of the recipe."""
    return {
        "name": recipe.network.name,
        "options": recipe.network.options,
        "data": recipe.images.description,
        "licence": recipe.images.licence,
        "resolution": recipe.train.size,
        "epochs": recipe.train.epochs,
        "seed": recipe.seed,
        "teachers": [teacher.name for teacher in recipe.teachers],
    }


def require_size(network: nn.Module, recipe: Recipe) -> None:
    """See that the file will not be larger than the recipe allows.

    Raises:
        WeightsError: it would.
    """
    megabytes = sum(value.nbytes for value in halved(network).values()) / 1e6
    if megabytes > recipe.max_megabytes:
        raise WeightsError(
            f"at most {recipe.max_megabytes:g} MB of weights",
            f"{megabytes:.1f} MB for {recipe.network.name}",
            "Choose a smaller network, or raise max_megabytes.",
        )


def halved(network: nn.Module) -> dict[str, torch.Tensor]:
    """Matrices and kernels in half precision; the few vectors, among them small variances, as they are."""
    state = network.state_dict()
    return {key: (value.half() if value.ndim > 1 else value).contiguous() for key, value in state.items()}


@torch.no_grad()
def accuracy(network: nn.Module, images: Images, size: int, mean: tuple[float, ...], std: tuple[float, ...]) -> float:
    """Share of the images whose highest score is their label's, fp32, whole images at `size`."""
    network = network.to(device(), memory_format=torch.channels_last).eval()  # type: ignore[call-overload]
    right = 0
    for begin in range(0, len(images.labels), _BATCH):
        pixels = torch.from_numpy(np.array(images.pixels[begin : begin + _BATCH])).to(device())
        found = network(views.normalise(views.whole(pixels, size), mean, std)).argmax(1).cpu().numpy()
        right += int((found == images.labels[begin : begin + _BATCH]).sum())
    return right / len(images.labels)
