"""What the headers of a volume tell of it: contrast, plane, 2D or 3D, slices. `selection` asks for these."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import get_args

import numpy as np

from pipeline.contract import Plane
from pipeline.dicom import geometry
from pipeline.dicom.contrast import UNKNOWN, Inference, Timing, infer
from pipeline.dicom.frames import Frame
from pipeline.dicom.header import Instance

#: Least cosine between the normal and an axis of the patient, 36.9 degrees: what PixelMed parts oblique planes by. The
#: way is that of PS3.3 for the category IMAGE_PLANE of hanging protocols; it leaves the threshold open.
OBLIQUE_COSINE = 0.8

_AXES: tuple[Plane, ...] = ("sagittal", "coronal", "axial")  # the normal along x, y, z of LPS
assert {*_AXES, "oblique"} == {*get_args(Plane)}


@dataclass(frozen=True)
class Traits:
    """What is known of a volume, or of planes that make none.

    Attributes:
        inference: the contrast and why.
        timing: of the first plane.
        plane: by the normal; None where planes have no place or several orientations.
        acquisition_type: 2D or 3D; empty where a header does not say, or they differ.
        n_slices: planes.
        step_mm: median distance of neighbouring planes; None where it cannot be told.
        start: of the series (date and time, then number), for which is later; identifying.
    """

    inference: Inference
    timing: Timing
    plane: Plane | None
    acquisition_type: str
    n_slices: int
    step_mm: float | None
    start: tuple[str, float] = field(repr=False)


def traits(first: Instance, frames: Sequence[Frame]) -> Traits:
    """The traits of planes; `first` is a file of their series."""
    placed = not geometry.incomplete(frames) and geometry.orientation_refusal(frames) is None
    types = {frame.timing.acquisition_type for frame in frames}
    steps = np.diff(np.sort(geometry.places(frames))) if placed else np.empty(0)
    steps = steps[steps >= geometry.SAME_POSITION_MM]
    return Traits(
        inference=inference_of(frames),
        timing=frames[0].timing,
        plane=plane_of(geometry.normal_of(frames)) if placed else None,
        acquisition_type=types.pop() if len(types) == 1 else "",
        n_slices=len(frames),
        step_mm=round(float(np.median(steps)), 2) if len(steps) else None,
        start=first.start,
    )


def inference_of(frames: Sequence[Frame]) -> Inference:
    """The contrast that all planes of a volume have, or `?`."""
    found = [infer(timing) for timing in dict.fromkeys(frame.timing for frame in frames)]
    if len({inference.contrast for inference in found}) == 1:
        return found[0]
    return Inference(UNKNOWN, frozenset(), "planes")


def plane_of(normal: geometry.Floats) -> Plane:
    """The plane of a unit normal in LPS: that of the nearest axis of the patient, or oblique."""
    cosines = np.abs(normal)
    nearest = int(np.argmax(cosines))
    return _AXES[nearest] if cosines[nearest] >= OBLIQUE_COSINE else "oblique"
