"""Which volumes of a series are taken: the checks in the order of `reasons.REASONS`, on headers alone."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from pipeline.contract import Selection
from pipeline.dicom import geometry
from pipeline.dicom.contrast import UNKNOWN, infer
from pipeline.dicom.frames import Frame, is_derived, is_original
from pipeline.dicom.header import Instance
from pipeline.dicom.reasons import REASONS, Rejection
from pipeline.dicom.volumes import split

#: A file, by its place among those of the series, and one of its planes.
Plane = tuple[int, Frame]


@dataclass(frozen=True)
class Plan:
    """A volume whose headers are in order, ready for its pixels to be read.

    Attributes:
        instances: its files.
        slices: file (a place in `instances`) and plane of each slice, in the order of the slices.
        contrast: one of `contrast.CONTRASTS`, or `?`.
        volume_number: its place among the volumes of the series, from 1; None where that has one.
    """

    instances: tuple[Instance, ...] = field(repr=False)
    slices: tuple[Plane, ...]
    contrast: str
    volume_number: int | None

    @property
    def form(self) -> str:
        """Classic or enhanced."""
        return self.slices[0][1].variant.form


def group(headers: Iterable[Instance | Rejection]) -> tuple[list[list[Instance]], list[Rejection]]:
    """Instances by series, and what belongs to none; both in an order that file names do not change."""
    series: dict[tuple[str, str], list[Instance]] = {}
    refused: list[Rejection] = []
    for header in headers:
        if isinstance(header, Rejection):
            refused.append(header)
        elif not header.series_uid:
            refused.append(Rejection(str(header.path), header.refusal or "no_identity"))
        else:
            series.setdefault((header.series_uid, header.refusal or ""), []).append(header)
    for instances in series.values():
        instances.sort(key=lambda instance: (instance.sop_uid, str(instance.path)))
    return [series[key] for key in sorted(series)], refused


def admit(instances: Sequence[Instance], selection: Selection | None) -> list[Plan | Rejection]:
    """The plans for the volumes of one series, and why the rest of it is refused, once for each reason.

    Of the volumes that repeat one contrast (time points, directions of diffusion) the first that is in order is taken;
    of a series that was exported in classic and in enhanced files, those of one kind.
    A series of which nothing is taken has the one reason that is asked first.
    """
    refusal = _identity_refusal(instances)
    if refusal:
        return [Rejection(instances[0].series_uid, refusal)]
    refused: set[str] = set()
    planes: list[Plane] = []
    annotated = any(instance.annotated for instance in instances)
    for place, instance in enumerate(instances):
        for frame in instance.frames:
            if kind := _kind_refusal(instance, frame, annotated):
                refused.add(kind)
            else:
                planes.append((place, frame))
    plans = _plans(instances, planes, selection, refused) if planes else []
    reasons = sorted(refused, key=[*REASONS].index)
    if not plans:
        return [Rejection(instances[0].series_uid, reasons[0])]
    return [*plans, *(Rejection(instances[0].series_uid, reason, part=True) for reason in reasons)]


def _plans(
    instances: Sequence[Instance], planes: Sequence[Plane], selection: Selection | None, refused: set[str]
) -> list[Plan]:
    """The volumes that are taken of these planes; reasons why others are not go into `refused`."""
    frames = [frame for _, frame in planes]
    if refusal := _plane_refusal([instances[place] for place, _ in planes], frames):
        refused.add(refusal)
        return []
    volumes = split(frames)
    plans: list[Plan] = []
    taken: set[object] = set()
    for volume in volumes:
        own = [frames[index] for index in volume.planes]
        contrast = contrast_of(own)
        variant = own[0].variant
        shown = variant.contrast, volume.beside
        again = shown in taken or any(plan.form != variant.form for plan in plans)
        reason = volume.fault or _stack_refusal(own, contrast, selection) or ("repeated_volume" if again else None)
        if math.prod(instances[planes[volume.planes[0]][0]].shape) * len(own) > geometry.MAX_VOLUME_VOXELS:
            reason = "too_large"
        if reason:
            refused.add(reason)
            continue
        taken.add(shown)
        number = volume.number if len(volumes) > 1 else None
        plans.append(Plan(tuple(instances), tuple(planes[index] for index in volume.planes), contrast, number))
    return plans


def contrast_of(frames: Sequence[Frame]) -> str:
    """The contrast that all planes of a volume have, or `?`."""
    contrasts = {infer(frame.timing) for frame in frames}
    return contrasts.pop() if len(contrasts) == 1 else UNKNOWN


def _identity_refusal(instances: Sequence[Instance]) -> str | None:
    if instances[0].refusal:
        return instances[0].refusal
    if not all(instance.patient_id and instance.study_uid and instance.sop_uid for instance in instances):
        return "no_identity"
    if len({(instance.patient_id, instance.study_uid) for instance in instances}) > 1:
        return "mixed_patient"
    return "duplicate_instance" if len({instance.sop_uid for instance in instances}) < len(instances) else None


def _kind_refusal(instance: Instance, frame: Frame, annotated: bool) -> str | None:
    """Why a plane is no picture as acquired; `annotated` where a file of its series says so of itself."""
    if "LOCALIZER" in frame.types:
        return "localizer"
    if is_derived(frame.types):
        return "derived"
    if annotated or not is_original(frame.types):
        return "burned_in"
    return None if instance.grey else "unsupported_photometric"


def _plane_refusal(instances: Sequence[Instance], frames: Sequence[Frame]) -> str | None:
    if geometry.incomplete(frames) or min(min(instance.shape) for instance in instances) < 1:
        return "no_geometry"
    if any(math.prod(instance.shape) * len(instance.frames) > geometry.MAX_FILE_PIXELS for instance in instances):
        return "too_large"
    if len({instance.frame_of_reference_uid for instance in instances}) > 1:
        return "mixed_frame_of_reference"
    if orientation := geometry.orientation_refusal(frames):
        return orientation
    if len({instance.shape for instance in instances}) > 1 or geometry.several_spacings(frames):
        return "mixed_size"
    return None


def _stack_refusal(frames: Sequence[Frame], contrast: str, selection: Selection | None) -> str | None:
    least = max(geometry.MIN_SLICES, selection.min_slices if selection else 0)
    if len(frames) < geometry.MIN_SLICES:
        return "too_few_slices"
    if stack := geometry.stack_refusal(frames):
        return stack
    if len(frames) < least:
        return "too_few_slices"
    if not all(frame.magnitude for frame in frames):
        return "not_magnitude"
    if selection and selection.contrasts is not None and contrast not in selection.contrasts:
        return "contrast_not_selected"
    return None
