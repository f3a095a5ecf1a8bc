"""Every NIfTI that dcm2niix's authors publish beside their DICOM, against what our reader makes of the same files.

`python -m tests.acceptance.dcm2niix_refs FOLDER` prints a line for each, and ends with 1 if one differs. It compares
what can be read; how many volumes of it ingest takes is another matter, and another column.

Where Philips gives its private ScaleSlope, dcm2niix publishes precise values: the displayed ones, which we take, over
RescaleSlope × ScaleSlope (Chenevert et al., Transl Oncol 2014).
"""

from __future__ import annotations

import argparse
import json
import sys
import warnings
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
from nibabel.orientations import OrientationError
from pydicom import dcmread

from pipeline.dicom import geometry, source
from pipeline.dicom.admission import Plan, Plane, admit
from pipeline.dicom.header import Instance, read_headers
from pipeline.dicom.scan import Scan, read_scan
from pipeline.dicom.volumes import split
from pipeline.imaging.nifti import LPS_TO_RAS

#: Largest difference of an element of the affine, mm.
AFFINE_TOLERANCE = 1e-3
#: Rounding of float32, in which dcm2niix computes and stores slope and intercept: slope is f(1) - f(0), each rounded.
EPSILON = float(np.finfo(np.float32).eps)


@dataclass(frozen=True)
class Stack:
    """The volumes of one contrast of a series, in their order.

    Attributes:
        number: SeriesNumber.
        values: float64 (X, Y, Z, T), what we read, along the axes nearest to RAS.
        affine: float64 (4, 4), to mm RAS.
        scales: what may stand between our values and published ones: 1, RescaleSlope × ScaleSlope.
        taken: how many of its volumes ingest takes.
    """

    number: int
    values: Any
    affine: Any
    scales: list[float]
    taken: int


@dataclass(frozen=True)
class Line:
    """One published volume: what it was compared with, and how that went."""

    name: str
    series: int | None = None
    volumes: int = 0
    scale: float = 1.0
    voxels: float = np.inf
    bound: float = 0.0
    affine: float = np.inf
    taken: int = 0

    @property
    def equal(self) -> bool:
        """Whether all voxels are the same, but for the rounding of the published scale."""
        return self.voxels <= self.bound

    @property
    def passed(self) -> bool:
        """Whether voxels and affine are."""
        return self.equal and self.affine <= AFFINE_TOLERANCE


def stacks(folder: Path) -> Iterator[Stack]:
    """Every stack below a folder; the files of one series in two folders are two series."""
    groups: dict[tuple[Path, str, int], list[Instance]] = defaultdict(list)
    for path in sorted(path for path in folder.rglob("*") if path.is_file()):
        for instance in read_headers([path]):
            if isinstance(instance, Instance) and not instance.refusal:
                number = int(_header(path).get("SeriesNumber") or 0)
                groups[path.parent, instance.series_uid, number].append(instance)
    for (_, _, number), instances in groups.items():
        yield from _stacks_of(number, instances)


def _stacks_of(number: int, instances: list[Instance]) -> Iterator[Stack]:
    """Volumes of one contrast, and those that differ in b-value too, which dcm2niix puts into one file."""
    planes = [(place, frame) for place, instance in enumerate(instances) for frame in instance.frames]
    if geometry.incomplete([frame for _, frame in planes]):
        return
    taken = {plan.slices for plan in admit(instances, None) if isinstance(plan, Plan)}
    together: dict[object, list[Plan]] = defaultdict(list)
    for own in _of_one_shape(instances, planes):
        for volume in split([frame for _, frame in own]):
            slices = tuple(own[index] for index in volume.planes)
            contrast = slices[0][1].variant.contrast
            plan = Plan(tuple(instances), slices, "?", None)
            for key in {contrast, contrast[:-1]} if len(slices) > 1 else ():
                together[key].append(plan)
    for plans in {tuple(map(id, plans)): plans for plans in together.values()}.values():
        plans.sort(key=lambda plan: plan.slices[0][1].variant.sequence)
        scans = [scan for scan in map(read_scan, plans) if isinstance(scan, Scan)]
        images = [_canonical(_image(scan)) for scan in scans]
        if images and len({image.shape for image in images}) == 1:
            values = np.stack([image.get_fdata() for image in images], axis=-1)
            known = sum(plan.slices in taken for plan in plans)
            yield Stack(number, values, images[0].affine, _scales(plans[0]), known)


def _of_one_shape(instances: list[Instance], planes: list[Plane]) -> list[list[Plane]]:
    """The planes by size and orientation: a scout is several volumes to dcm2niix."""
    groups: dict[object, list[Plane]] = defaultdict(list)
    for place, frame in planes:
        assert frame.orientation is not None
        groups[instances[place].shape, tuple(round(x, 2) for x in frame.orientation)].append((place, frame))
    return list(groups.values())


def _image(scan: Scan) -> Any:
    voxels = scan.volume.voxels.astype(np.float64).transpose(2, 1, 0)
    return nib.Nifti1Image(voxels, LPS_TO_RAS @ scan.volume.affine_lps)


def _canonical(image: Any) -> Any:
    return nib.as_closest_canonical(image)


def _header(path: Path) -> Any:
    with source.opened(path) as handle, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return dcmread(handle, stop_before_pixels=True, force=True)


def _scales(plan: Plan) -> list[float]:
    """1, and RescaleSlope × ScaleSlope of the first plane where a ScaleSlope is given."""
    frame = plan.slices[0][1]
    return [1.0] if frame.precise_scale is None else [1.0, frame.precise_scale]


def compare(path: Path, candidates: list[Stack]) -> Line:
    """The line of a published volume: of the stacks that have its size, the one that is nearest to it."""
    published = nib.load(path)
    try:
        canonical = _canonical(published)
    except OrientationError:  # an affine that is none
        return Line(path.name)
    values = canonical.get_fdata()
    values = values[..., None] if values.ndim == 3 else values
    described = path.with_name(path.name.removesuffix(".gz").removesuffix(".nii") + ".json")
    number = json.loads(described.read_text())["SeriesNumber"] if described.is_file() else None
    lines = [Line(path.name, number)]
    for stack in candidates:
        if stack.values.shape != values.shape or stack.number != (number if number is not None else stack.number):
            continue
        affine = float(np.abs(stack.affine - canonical.affine).max())
        for scale in stack.scales:
            difference = float(np.abs(stack.values / scale - values).max())
            found = values.shape[-1], scale, difference, _bound(published, values), affine, stack.taken
            lines.append(Line(path.name, stack.number, *found))
    return min(lines, key=lambda line: (line.voxels, line.affine))


def _bound(published: Any, values: Any) -> float:
    """Largest difference that the published float32 slope and intercept explain; less than one step of the pixels."""
    slope, intercept = float(published.dataobj.slope), float(published.dataobj.inter)
    levels = float(np.ptp(values)) / abs(slope)
    return min(EPSILON * (4 * float(np.abs(values).max()) + levels * abs(intercept)), abs(slope) / 2)


def table(folder: Path) -> list[Line]:
    """A line for every NIfTI in a folder `Ref`, compared with the DICOM in `In` beside it."""
    lines = []
    for references in sorted(folder.glob("*/Ref")):
        candidates = list(stacks(references.parent / "In"))
        paths = sorted([*references.glob("*.nii"), *references.glob("*.nii.gz")])
        lines.extend(compare(path, candidates) for path in paths)
    return lines


def main(arguments: list[str] | None = None) -> int:
    """Print the table; 0 if it holds the bar."""
    parser = argparse.ArgumentParser(prog="python -m tests.acceptance.dcm2niix_refs", description=__doc__)
    parser.add_argument("folder", type=Path, help="holds folders with `In` (DICOM) and `Ref` (NIfTI)")
    lines = table(parser.parse_args(arguments).folder)
    print(f"{'published volume':<46}{'series':>7}{'volumes':>8}{'taken':>6}{'scale':>11}", end="")
    print(f"  {'voxels':<6}{'difference':>11}{'rounding':>9}{'affine':>9}  verdict")
    for line in lines:
        print(f"{line.name:<46}{line.series or '-':>7}{line.volumes:>8}{line.taken:>6}{line.scale:>11.4g}", end="")
        print(
            f"  {'equal' if line.equal else 'NOT':<6}{line.voxels:>11.2g}{line.bound:>9.1g}{line.affine:>9.1g}", end=""
        )
        print(f"  {'same' if line.passed else 'DIFFERS'}")
    print(f"{sum(line.passed for line in lines)} of {len(lines)} the same; affine to {AFFINE_TOLERANCE} mm")
    return 0 if lines and all(line.passed for line in lines) else 1


if __name__ == "__main__":
    sys.exit(main())
