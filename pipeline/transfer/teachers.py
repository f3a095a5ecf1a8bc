"""What the teachers see in each image: their pooled features, computed once."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

import numpy as np
import numpy.typing as npt
import torch
from torch import nn

from pipeline.files import write_atomic
from pipeline.progress import say, track
from pipeline.transfer import backbone, views
from pipeline.transfer.images import Images
from pipeline.transfer.predict import device
from pipeline.transfer.recipe import Recipe, Teacher

_BATCH = 128


def teach(recipe: Recipe, images: Images, out: Path) -> None:
    """Write the teachers' pooled features of the whole images, side by side: float16 (N, F), F summed over teachers.

    Raises:
        WeightsError: a teacher's weights cannot be had.
        StorageError: the disk is full.
    """
    panel = [_member(teacher) for teacher in recipe.teachers]
    width = sum(backbone.feature_count(trunk, teacher.size, channels=3) for trunk, teacher, *_ in panel)
    header = {"descr": "<f2", "fortran_order": False, "shape": (len(images.labels), width)}

    def write(handle: BinaryIO) -> None:
        np.lib.format.write_array_header_1_0(handle, header)
        for features in track(_features(images, panel), "teach", -(-len(images.labels) // _BATCH)):
            handle.write(features.tobytes())

    write_atomic(out, write)


Member = tuple[nn.Module, Teacher, tuple[float, ...], tuple[float, ...]]


def _member(teacher: Teacher) -> Member:
    network, weights, source = backbone.load(teacher)
    say(f"teach: {teacher.name} with weights {weights.origin}")
    trunk = backbone.trunk(network).to(device(), memory_format=torch.channels_last)  # type: ignore[call-overload]
    return trunk, teacher, source.mean, source.std


@torch.no_grad()
def _features(images: Images, panel: list[Member]) -> Iterator[npt.NDArray[np.float16]]:
    """Batch by batch."""
    for begin in range(0, len(images.labels), _BATCH):
        pixels = torch.from_numpy(np.array(images.pixels[begin : begin + _BATCH])).to(device())
        found = []
        for trunk, teacher, mean, std in panel:
            batch = views.normalise(views.whole(pixels, teacher.size), mean, std)
            with torch.autocast(batch.device.type, torch.bfloat16):
                found.append(trunk(batch).float())
        yield torch.cat(found, dim=1).cpu().numpy().astype(np.float16)
