"""Random changes of training slices, a whole batch at once on its device."""

from __future__ import annotations

import math

import torch
from torch.nn import functional

#: Largest rotation (degrees), zoom (share) and shift (share of the half width) of a training slice.
ROTATION_DEG, ZOOM, SHIFT = 12.0, 0.12, 0.06
#: Largest change of contrast (share), of gamma (log) and of brightness (share of the range).
CONTRAST, LOG_GAMMA, BRIGHTNESS = 0.2, 0.25, 0.08


def augment(slices: torch.Tensor, owner: torch.Tensor, generator: torch.Generator) -> torch.Tensor:
    """One random flip, affine and intensity change a unit; its slices share it, as a patient's pose would.

    Args:
        slices: float (N, 1, H, W) in 0..1.
        owner: int64 (N,), the unit of each slice.
        generator: on the CPU.
    """
    count = int(owner.max()) + 1
    change = torch.rand(count, 8, generator=generator) * 2 - 1
    change = change.to(slices.device)[owner]
    angle, zoom = change[:, 0] * math.radians(ROTATION_DEG), torch.exp(change[:, 1] * ZOOM)
    flip = torch.where(change[:, 2] > 0, 1.0, -1.0)
    cosine, sine = torch.cos(angle) * zoom, torch.sin(angle) * zoom
    theta = torch.stack(
        [
            torch.stack([cosine * flip, -sine, change[:, 3] * SHIFT], dim=1),
            torch.stack([sine * flip, cosine, change[:, 4] * SHIFT], dim=1),
        ],
        dim=1,
    )
    grid = functional.affine_grid(theta, list(slices.shape), align_corners=False)
    moved = functional.grid_sample(slices, grid, align_corners=False)
    scale, gamma, shift = (
        change[:, place].view(-1, 1, 1, 1) * size for place, size in ((5, CONTRAST), (6, LOG_GAMMA), (7, BRIGHTNESS))
    )
    background = moved <= 0
    changed = ((moved.clamp(0, 1) + 1e-6) ** torch.exp(gamma) * (1 + scale) + shift).clamp(0, 1)
    return torch.where(background, moved, changed)
