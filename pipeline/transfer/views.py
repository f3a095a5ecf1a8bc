"""Views of photographs for pre-training: crops for teachers and student, colours for the student, whole for tests."""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt
import torch
from torch.nn import functional

#: Share of the image's area that a crop keeps, and the range of its width to height (Szegedy et al., 2015). The small
#: ones teach what things look like from near: on a 64-pixel photograph they are smaller than in an MRI slice.
AREA = (0.08, 1.0)
ASPECT = (3 / 4, 4 / 3)

#: Largest relative change of brightness, contrast and saturation.
JITTER = 0.4

#: Share of the student's views without colour: the images to come have none.
GREY = 0.3

_LUMA = (0.299, 0.587, 0.114)


def boxes(count: int, view: int) -> npt.NDArray[np.float32]:
    """A random crop for each of `count` images: float32 (count, 5), always the same ones in a view of this number.

    A row is centre x, centre y, half width, half height, in the image's coordinates from -1 to 1, and -1 for mirrored
    or 1.
    """
    draw = np.random.default_rng(view)
    area, aspect = draw.uniform(*AREA, count), np.exp(draw.uniform(math.log(ASPECT[0]), math.log(ASPECT[1]), count))
    half = np.minimum(np.sqrt(np.stack([area * aspect, area / aspect], axis=1)), 1.0)
    centre = draw.uniform(-1, 1, (count, 2)) * (1 - half)
    mirrored = draw.choice([-1.0, 1.0], (count, 1))
    return np.concatenate([centre, half, mirrored], axis=1).astype(np.float32)


def crop(pixels: torch.Tensor, chosen: torch.Tensor, size: int) -> torch.Tensor:
    """Cut `chosen` boxes (B, 5) out of uint8 (B, H, W, 3): float32 (B, 3, size, size) in 0..1, channels-last."""
    x, y, half_width, half_height, mirrored = chosen.unbind(1)
    zero = torch.zeros_like(x)
    rows = torch.stack([half_width * mirrored, zero, x, zero, half_height, y], dim=1)
    batch = pixels.permute(0, 3, 1, 2).float() / 255
    grid = functional.affine_grid(rows.view(-1, 2, 3), [len(rows), 3, size, size], align_corners=False)
    out = functional.grid_sample(batch, grid, padding_mode="border", align_corners=False)
    return out.contiguous(memory_format=torch.channels_last)


def whole(pixels: torch.Tensor, size: int) -> torch.Tensor:
    """The whole of uint8 (B, H, W, 3), likewise."""
    everything = torch.tensor([0.0, 0.0, 1.0, 1.0, 1.0], device=pixels.device)
    return crop(pixels, everything.expand(len(pixels), 5), size)


def recolour(batch: torch.Tensor, draw: np.random.Generator) -> torch.Tensor:
    """Brightness, contrast and saturation of (B, 3, H, W) in 0..1, each image its own; some become grey."""
    count = len(batch)
    factors = draw.uniform(1 - JITTER, 1 + JITTER, (3, count))
    factors[2, draw.random(count) < GREY] = 0
    brightness, contrast, saturation = torch.from_numpy(factors).to(batch).view(3, count, 1, 1, 1).unbind(0)
    luma = (batch * batch.new_tensor(_LUMA).view(1, 3, 1, 1)).sum(1, keepdim=True)
    saturated = luma + saturation * (batch - luma)
    mean = luma.mean((2, 3), keepdim=True)
    changed = brightness * (mean + contrast * (saturated - mean))
    return changed.clamp(0, 1).contiguous(memory_format=torch.channels_last)


def normalise(batch: torch.Tensor, mean: tuple[float, ...], std: tuple[float, ...]) -> torch.Tensor:
    """(B, 3, H, W) in 0..1 to what a network of this mean and standard deviation takes."""
    return (batch - batch.new_tensor(mean).view(1, 3, 1, 1)) / batch.new_tensor(std).view(1, 3, 1, 1)
