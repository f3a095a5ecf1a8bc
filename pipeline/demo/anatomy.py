"""A head from the MNI152 template, sampled on a scanner's slices.

The template (ICBM 2009a, 1 mm, brain only) and its tissue maps are those that nilearn carries in its package. What lies
around the brain is grown from distances: a film of fluid, then bone up to a hull that closes the brain's deep clefts,
then the scalp.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache

import numpy as np
import numpy.typing as npt
from scipy import ndimage

from pipeline.demo.fields import smooth_field

Array = npt.NDArray[np.float32]
Affine = npt.NDArray[np.float64]

#: Slices are thick: each template voxel stands for this many millimetres along the slice normal.
SLAB_MM = 5
#: Spacing of the distance map: it is smooth, so every second voxel is enough.
DISTANCE_STEP = 2
_TO_DISTANCE = np.float32(1 / DISTANCE_STEP)
#: Thickness of the fluid between brain and skull.
FILM_MM = 2.0
#: Clefts of the brain narrower than twice this are inside the skull's hull.
CLEFT_MM = 16.0
#: Middle of the brain in the template's space, in mm (RAS); patients lie with it at the scanner's centre.
CENTRE_RAS = np.array([0.0, -18.0, 6.0])
_RAS_FROM_LPS = np.diag([-1.0, -1.0, 1.0])


@dataclass(frozen=True)
class Atlas:
    """Tissue fractions of the template, and the distances that the tissues around it are grown from.

    Attributes:
        brain: float32 (X, Y, Z) each, by tissue: csf, gm, wm; averaged over the slab.
        brain_mm: float32, distance of every second voxel to the brain, in mm.
        hull_mm: the same to the hull.
        voxel_from_ras: (4, 4), millimetres (RAS) to voxel index.
    """

    brain: Mapping[str, Array]
    brain_mm: Array
    hull_mm: Array
    voxel_from_ras: Affine


@dataclass(frozen=True)
class Grid:
    """Where a stack of slices stands: `shape` (D, H, W) and `affine_lps` as in `pipeline.imaging.volume.Volume`."""

    shape: tuple[int, int, int]
    affine_lps: Affine


@dataclass(frozen=True)
class Head:
    """How one patient's head differs from the template, and how it lies."""

    scale: tuple[float, float, float]
    rotation_deg: tuple[float, float, float]
    shift_mm: tuple[float, float, float]
    warp_mm: float
    skull_mm: float
    scalp_mm: float


@cache
def atlas() -> Atlas:
    """The template; loaded once in a process."""
    from nilearn.datasets import (  # takes a second to import, which readers of this module need not pay
        load_mni152_brain_mask,
        load_mni152_gm_template,
        load_mni152_wm_template,
    )

    mask_image = load_mni152_brain_mask(resolution=1)
    mask = np.asarray(mask_image.dataobj, dtype=np.float32)
    gm = np.asarray(load_mni152_gm_template(resolution=1).dataobj, dtype=np.float32)
    wm = np.asarray(load_mni152_wm_template(resolution=1).dataobj, dtype=np.float32)
    gm, wm = np.clip(gm, 0, 1) * mask, np.clip(wm, 0, 1) * mask
    brain = {"csf": np.clip(mask - gm - wm, 0, 1), "gm": gm, "wm": wm}
    brain_mm = _distance(mask[::DISTANCE_STEP, ::DISTANCE_STEP, ::DISTANCE_STEP] > 0.5)
    # A closing: what is near the brain but not near anything that is far from it.
    hull_mm = _distance(_distance(brain_mm > CLEFT_MM) >= CLEFT_MM)
    return Atlas(
        {tissue: ndimage.uniform_filter1d(image, SLAB_MM, axis=2) for tissue, image in brain.items()},
        brain_mm,
        hull_mm,
        np.linalg.inv(mask_image.affine),
    )


def _distance(inside: npt.NDArray[np.bool_]) -> Array:
    """Distance of every voxel to the nearest one that is inside, in mm."""
    distance: npt.NDArray[np.float64] = ndimage.distance_transform_edt(~inside, sampling=DISTANCE_STEP)
    return distance.astype(np.float32)


def fractions(rng: np.random.Generator, grid: Grid, head: Head) -> dict[str, Array]:
    """Sample one head on a grid.

    Returns:
        float32 (D, H, W) by tissue: csf, gm, wm, skull, scalp; together at most 1, the rest is air.
    """
    template = atlas()
    places = _template_voxels(rng, grid, head, template.voxel_from_ras)
    hull = _sample(template.hull_mm, places * _TO_DISTANCE)
    inside = hull < head.skull_mm + head.scalp_mm + 1  # half of the picture is air, which need not be looked up
    hull, places = hull[inside], places[:, inside]
    found = {tissue: _sample(image, places) for tissue, image in template.brain.items()}
    air = 1 - np.clip(sum(found.values()), 0, 1)
    inner = np.clip(_sample(template.brain_mm, places * _TO_DISTANCE) - FILM_MM, 0, 1)
    outer, skin = (np.clip(hull - rise, 0, 1) for rise in (head.skull_mm, head.skull_mm + head.scalp_mm))
    found["csf"] += air * (1 - inner)
    found["skull"] = air * np.clip(inner - outer, 0, 1)
    found["scalp"] = air * np.minimum(inner, outer) * (1 - skin)
    shares = {tissue: np.zeros(grid.shape, dtype=np.float32) for tissue in found}
    for tissue, share in shares.items():
        share[inside] = found[tissue]
    return shares


def _sample(image: Array, places: Array) -> Array:
    """The image at voxel coordinates (3, ...), linear between voxels; its border goes on outside it."""
    return np.asarray(ndimage.map_coordinates(image, places, order=1, mode="nearest"), dtype=np.float32)


def _template_voxels(rng: np.random.Generator, grid: Grid, head: Head, voxel_from_ras: Affine) -> Array:
    """Template voxel coordinates float32 (3, D, H, W) of every voxel of the grid."""
    turned = rotation(head.rotation_deg)
    to_template = np.diag(1 / np.array(head.scale)) @ _RAS_FROM_LPS @ turned
    matrix = np.eye(4)
    matrix[:3, :3] = to_template
    matrix[:3, 3] = CENTRE_RAS - to_template @ np.array(head.shift_mm)
    whole = voxel_from_ras @ matrix @ grid.affine_lps
    depth, height, width = (np.arange(size, dtype=np.float32) for size in grid.shape)
    places = np.empty((3, *grid.shape), dtype=np.float32)
    for axis in range(3):
        column, row, slice_, origin = whole[axis].astype(np.float32)
        places[axis] = (depth * slice_ + origin)[:, None, None] + (height * row)[:, None] + width * column
        # The template's voxels are 1 mm, so millimetres of warp are voxels.
        places[axis] += np.float32(head.warp_mm) * smooth_field(rng, grid.shape, (5, 7, 7))
    return places


def rotation(degrees: tuple[float, float, float]) -> Affine:
    """Rotation (3, 3) about x, then y, then z, in degrees."""
    x, y, z = np.deg2rad(degrees)
    about_x = np.array([[1, 0, 0], [0, np.cos(x), -np.sin(x)], [0, np.sin(x), np.cos(x)]])
    about_y = np.array([[np.cos(y), 0, np.sin(y)], [0, 1, 0], [-np.sin(y), 0, np.cos(y)]])
    about_z = np.array([[np.cos(z), -np.sin(z), 0], [np.sin(z), np.cos(z), 0], [0, 0, 1]])
    return np.asarray(about_z @ about_y @ about_x)
