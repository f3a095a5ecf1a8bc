"""Mosaics of Siemens and grids of United Imaging: the slices of a volume tiled row by row into one square picture.

United Imaging lists the position of each tile. Siemens gives ImagePositionPatient of the whole picture, as if it were
one slice; so the centre of the first tile stands where the centre of the picture is said to be
(nipy.org/nibabel/dicom/dicom_mosaic.html).
"""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import numpy as np
import numpy.typing as npt
from pydicom.sequence import Sequence

from pipeline.dicom import csa, private
from pipeline.dicom.frames import Frame
from pipeline.dicom.plain_header import Items
from pipeline.dicom.values import numbers, positive

TAGS = ["SpacingBetweenSlices"]

#: Most tiles in a picture; more are no brain, but garbage.
MAX_TILES = 1024
#: Largest difference of a component between SliceNormalVector and the normal of the planes, in either direction.
NORMAL_TOLERANCE = 1e-2

_COUNT, _NORMAL = "NumberOfImagesInMosaic", "SliceNormalVector"

Floats = npt.NDArray[np.float64]


def tiled(dataset: Any, whole: Frame) -> bool:
    """Whether a file of one plane says that it is made of tiles."""
    return "MOSAIC" in whole.types or private.Elements(dataset).value(private.UIH_TILES) is not None


def tiles(dataset: Any, whole: Frame, shape: tuple[int, int]) -> tuple[tuple[Frame, ...], tuple[int, int]] | None:
    """The planes of the tiles, and rows and columns of each; None where the header does not say how they are laid.

    Args:
        dataset: with the private elements of `private.TAGS`; the CSA header where it is there.
        whole: the picture as one plane.
        shape: its rows and columns.
    """
    own = private.Elements(dataset)
    if None in (whole.position, whole.orientation, whole.pixel_spacing) or min(shape) < 1:
        return None
    listed = own.value(private.UIH_TILES)
    header = csa.values(own.value(private.SIEMENS_CSA_IMAGE), frozenset({_COUNT, _NORMAL}))
    count = len(listed) if isinstance(listed, (Sequence, Items)) else _count(own, header.get(_COUNT, ()))
    across = math.ceil(math.sqrt(count)) if 0 < count <= MAX_TILES else 0
    if not across or any(length % across for length in shape):
        return None
    size = shape[0] // across, shape[1] // across
    if isinstance(listed, (Sequence, Items)):
        places = [numbers(item.get("ImagePositionPatient"), 3) for item in listed]
    else:
        places = _places(dataset, whole, (shape[0] - size[0], shape[1] - size[1]), count, header.get(_NORMAL, ()))
    if None in places:
        return None
    return tuple(replace(whole, number=tile, position=place) for tile, place in enumerate(places, 1)), size


def _places(
    dataset: Any, whole: Frame, beyond: tuple[int, int], count: int, said: tuple[str, ...]
) -> list[tuple[float, ...] | None]:
    """The positions of Siemens's tiles; `beyond` are the rows and columns that the picture has beyond a tile."""
    step_mm, normal = positive(dataset.get("SpacingBetweenSlices")), _normal(whole, said)
    if not step_mm or normal is None:
        return [None]
    orientation, spacing = np.array(whole.orientation, float), np.array(whole.pixel_spacing, float)
    first = np.array(whole.position, float) + orientation[:3] * spacing[1] * beyond[1] / 2
    first = first + orientation[3:] * spacing[0] * beyond[0] / 2
    return [tuple(place) for place in (first + np.arange(count)[:, None] * step_mm * normal).tolist()]


def untiled(pixels: npt.NDArray[Any], count: int, shape: tuple[int, int]) -> npt.NDArray[Any]:
    """The tiles (count, rows, columns) of a picture (1, …, …); those left over at its end are dropped."""
    rows, columns = shape
    grid = pixels.reshape(pixels.shape[1] // rows, rows, pixels.shape[2] // columns, columns)
    return grid.swapaxes(1, 2).reshape(-1, rows, columns)[:count]


def _count(own: private.Elements, said: tuple[str, ...]) -> int:
    """How many tiles hold a slice: by the CSA header, its twin outside it, or the times of the slices; 0 if unknown."""
    if said and said[0].isdecimal():
        return int(said[0])
    count = own.number(private.SIEMENS_MOSAIC_COUNT)
    return int(count or 0) or len(own.numbers(private.SIEMENS_MOSAIC_TIMES))


def _normal(whole: Frame, said: tuple[str, ...]) -> Floats | None:
    """Unit vector from tile to tile: the normal of the planes, in the direction that SliceNormalVector says.

    Without it, only where that is the direction in which Siemens counts: to the left, back or head along the axis that
    is nearest. Elsewhere (sagittal) the order could be either.
    """
    orientation = np.array(whole.orientation, float)
    normal = np.cross(orientation[:3], orientation[3:])
    length = float(np.linalg.norm(normal))
    if not length > 0:
        return None
    normal = normal / length
    if not said:
        return normal if normal[np.abs(normal).argmax()] > 0 else None
    try:
        vector = np.array([float(text) for text in said], float)
    except ValueError:
        return None
    if vector.shape != (3,):
        return None
    for direction in (1.0, -1.0):
        if np.abs(vector - direction * normal).max() <= NORMAL_TOLERANCE:
            return np.asarray(direction * normal, float)
    return None
