"""Planes to a stack: order, even distance, and the affine (PS3.3 C.7.6.2.1.1). Every tolerance is a constant here."""

from __future__ import annotations

import functools
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from pipeline.dicom.frames import Frame

Floats = npt.NDArray[np.float64]

#: Largest departure of direction cosines from unit length and from a right angle: headers write few digits.
COSINE_TOLERANCE = 1e-2
#: Largest difference of a direction cosine between the slices of one stack: 0.06 degrees.
ORIENTATION_TOLERANCE = 1e-3
#: Cosine between the normals of two planes that stand at right angles; three such planes make a localizer.
RIGHT_ANGLE_TOLERANCE = 0.1
#: Slices whose distance along the normal is less stand at the same position.
SAME_POSITION_MM = 0.02
#: Largest spread of the distances between slices, as a share of their median: rounding and jitter.
SPACING_TOLERANCE = 0.05
#: A distance of so many medians has room for a slice that is missing.
GAP = 1.5
#: Largest sideways shift of a slice against the line through the first and the last.
STACK_TOLERANCE_MM = 0.5
#: Largest relative difference of pixel spacing within a series.
PIXEL_SPACING_TOLERANCE = 1e-3

#: A distance of at most this share of the median lets slices overlap that should not.
OVERLAP = 1 / GAP

#: Farthest that a plane can stand from the origin, and largest pixel, in mm: no scanner reaches beyond.
FARTHEST_MM = 1e5
LARGEST_PIXEL_MM = 1e3

MIN_SLICES = 2
#: Most pixels of a file, over all its frames, and most voxels of a volume: what these take in memory stays below 1 GiB.
MAX_FILE_PIXELS = 1 << 28
MAX_VOLUME_VOXELS = 1 << 27


def incomplete(frames: Sequence[Frame]) -> bool:
    """Whether a plane lacks its place, or has an impossible one."""
    return any(_impossible(frame) for frame in frames)


def _impossible(frame: Frame) -> bool:
    if frame.position is None or frame.orientation is None or frame.pixel_spacing is None:
        return True
    near = all(abs(place) <= FARTHEST_MM for place in frame.position)
    sized = all(0 < length <= LARGEST_PIXEL_MM for length in frame.pixel_spacing)
    return not (near and sized and _departure(frame.orientation) <= COSINE_TOLERANCE)


@functools.lru_cache(maxsize=64)
def _departure(orientation: tuple[float, ...]) -> float:
    """How far direction cosines are from unit length and from a right angle; the slices of a stack have the same."""
    row, column = np.reshape(orientation, (2, 3))
    with np.errstate(over="ignore", invalid="ignore"):
        return float(np.abs([row @ row - 1, column @ column - 1, row @ column]).max())


def several_spacings(frames: Sequence[Frame]) -> bool:
    """Whether pixel spacing differs."""
    spacings = np.array([frame.pixel_spacing for frame in frames], float)
    return bool(np.ptp(spacings, axis=0).max() > PIXEL_SPACING_TOLERANCE * spacings.min())


def orientation_refusal(frames: Sequence[Frame]) -> str | None:
    """`localizer` for three planes at right angles, `mixed_orientation` for other differences, None for one stack."""
    orientations = np.array([frame.orientation for frame in frames], float)
    if np.ptp(orientations, axis=0).max() <= ORIENTATION_TOLERANCE:
        return None
    normals = np.unique(np.round(np.cross(orientations[:, :3], orientations[:, 3:]), 2), axis=0)
    square = np.abs(normals @ normals.T) < RIGHT_ANGLE_TOLERANCE
    at_right_angles = any(square[i, j] and square[i] @ square[j] for i, j in np.argwhere(square))
    return "localizer" if at_right_angles else "mixed_orientation"


def normal_of(frames: Sequence[Frame]) -> Floats:
    """Unit normal of a stack's planes: direction along a row × direction along a column."""
    orientation = np.array([frame.orientation for frame in frames], float).mean(axis=0)
    normal = np.cross(orientation[:3], orientation[3:])
    return np.asarray(normal / np.linalg.norm(normal), float)


def places(frames: Sequence[Frame]) -> Floats:
    """Distance of each plane along the normal, mm."""
    return np.array([frame.position for frame in frames], float) @ normal_of(frames)


def aside(frames: Sequence[Frame]) -> Floats:
    """Where each plane begins along the rows and along the columns, mm: (N, 2)."""
    orientation = np.array([frame.orientation for frame in frames], float).mean(axis=0).reshape(2, 3)
    return np.asarray(np.array([frame.position for frame in frames], float) @ orientation.T, float)


def stack_refusal(frames: Sequence[Frame]) -> str | None:
    """Why planes, in the order of their places, no two at the same, are no evenly spaced stack, or None."""
    steps = np.diff(places(frames))
    positions = np.array([frame.position for frame in frames], float)
    line = np.linspace(positions[0], positions[-1], len(positions))
    median = np.median(steps)
    if steps.min() <= OVERLAP * median:
        return "overlapping_slices"
    if steps.max() >= GAP * median:
        return "missing_slice"
    if np.ptp(steps) > SPACING_TOLERANCE * median:
        return "uneven_spacing"
    normal = normal_of(frames)
    overall = positions[-1] - positions[0]
    shear = np.linalg.norm(overall - (overall @ normal) * normal)
    shift = np.linalg.norm(positions - line - np.outer((positions - line) @ normal, normal), axis=1).max()
    return "not_stacked" if max(shear, shift) > STACK_TOLERANCE_MM else None


def affine_lps(frames: Sequence[Frame]) -> Floats:
    """Float64 (4, 4): (column, row, slice, 1) to mm LPS, of a stack in the order of its slices."""
    first = frames[0]
    orientation, spacing = np.array(first.orientation, float), np.array(first.pixel_spacing, float)
    positions = np.array([first.position, frames[-1].position], float)
    affine = np.eye(4)
    affine[:3, 0] = orientation[:3] * spacing[1]
    affine[:3, 1] = orientation[3:] * spacing[0]
    affine[:3, 2] = (positions[1] - positions[0]) / (len(frames) - 1)
    affine[:3, 3] = positions[0]
    return affine
