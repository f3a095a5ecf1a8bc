"""Lesions of a wanted volume, drawn in white matter on a scanner's slices."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from pipeline.demo.anatomy import Grid
from pipeline.demo.fields import smooth_field

Array = npt.NDArray[np.float32]

#: Smaller lesions show no ring at this slice thickness.
RING_FROM_ML = 1.5
RING_SHARE = 0.4
#: How far outlines stray from ellipsoids: standard deviation of the radius's logarithm.
ROUGHNESS = 0.32
#: Over how many millimetres a lesion fades into the tissue around it.
EDGE_MM = 2.0


@dataclass(frozen=True)
class Lesion:
    """float32 (D, H, W) shares of each voxel: `rim`, the lesion's tissue, and `core`, the fluid inside a ring."""

    rim: Array
    core: Array


def draw(rng: np.random.Generator, tissue: dict[str, Array], grid: Grid, volume_ml: float) -> Lesion:
    """One to three lesions of `volume_ml` together, centred in white matter and kept within the brain.

    The outline is the level set of an ellipsoid's radius times a smooth random field; taking as many voxels as the
    volume needs, smallest radius first, gives that volume whatever the folds of the cortex cut off.
    """
    count = 1 + int(rng.binomial(2, 0.25))
    shares = rng.dirichlet(np.full(count, 4.0))
    brain = tissue["gm"] + tissue["wm"]
    rim, core = np.zeros(grid.shape, np.float32), np.zeros(grid.shape, np.float32)
    for share in shares:
        one = _one(rng, tissue["wm"], brain, grid, volume_ml * float(share))
        rim = np.maximum(rim, one.rim)
        core = np.maximum(core, one.core)
    return Lesion(np.clip(rim - core, 0, 1), core)


def _one(rng: np.random.Generator, white: Array, brain: Array, grid: Grid, volume_ml: float) -> Lesion:
    """One lesion; its `rim` still holds the core."""
    seeds = np.argwhere(white > 0.85 * white.max())
    centre = seeds[rng.integers(len(seeds))]
    step = np.linalg.norm(grid.affine_lps[:3, :3], axis=0)[::-1]
    stretch = rng.uniform(0.75, 1.35, size=3)
    axes = [
        ((np.arange(size) - middle) * mm / long) ** 2
        for size, middle, mm, long in zip(grid.shape, centre, step, stretch, strict=True)
    ]
    radius = np.sqrt(axes[0][:, None, None] + axes[1][:, None] + axes[2]).astype(np.float32)
    radius *= np.exp(ROUGHNESS * smooth_field(rng, grid.shape, (12, 16, 16)))
    radius[brain < 0.5] = np.inf
    voxel_ml = float(np.prod(step)) / 1000
    wanted = min(max(1, round(volume_ml / voxel_ml)), radius.size - 1)
    edge = float(np.partition(radius, wanted, axis=None)[wanted])
    rim = np.clip(0.5 + (edge - radius) / EDGE_MM, 0, 1) * brain
    core = np.zeros_like(rim)
    if volume_ml >= RING_FROM_ML and rng.random() < RING_SHARE:
        inner = edge * rng.uniform(0.5, 0.7)
        core = np.clip(0.5 + (inner - radius) / EDGE_MM, 0, 1) * brain
    return Lesion(rim.astype(np.float32), core.astype(np.float32))


def measured_ml(lesion: Lesion, grid: Grid) -> float:
    """The volume that was drawn, in ml."""
    voxel_mm3 = abs(float(np.linalg.det(grid.affine_lps[:3, :3])))
    return math.fsum((float(lesion.rim.sum()), float(lesion.core.sum()))) * voxel_mm3 / 1000
