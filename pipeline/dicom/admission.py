"""Which series become a volume: the checks in the order of `reasons.REASONS`, on headers alone."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

import numpy as np

from pipeline.contract import Selection
from pipeline.dicom import geometry
from pipeline.dicom.contrast import UNKNOWN, infer
from pipeline.dicom.frames import Frame
from pipeline.dicom.header import Instance
from pipeline.dicom.reasons import Rejection


@dataclass(frozen=True)
class Plan:
    """A series whose header is in order, ready for its pixels to be read.

    Attributes:
        instances: its files.
        slices: file (a place in `instances`) and plane of each slice, in the order of the slices.
        contrast: one of `contrast.CONTRASTS`, or `?`.
    """

    instances: tuple[Instance, ...] = field(repr=False)
    slices: tuple[tuple[int, Frame], ...]
    contrast: str


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


def admit(instances: Sequence[Instance], selection: Selection | None) -> Plan | Rejection:
    """The plan for one series, or why it is refused."""
    refusal = _identity_refusal(instances) or _kind_refusal(instances)
    planes = [(place, frame) for place, instance in enumerate(instances) for frame in instance.frames]
    refusal = refusal or _plane_refusal(instances, [frame for _, frame in planes])
    if refusal:
        return Rejection(instances[0].series_uid, refusal)
    along = geometry.places([frame for _, frame in planes])
    slices = tuple(planes[place] for place in np.argsort(along, kind="stable"))
    frames = [frame for _, frame in slices]
    contrasts = {infer(frame.timing) for frame in frames}
    contrast = contrasts.pop() if len(contrasts) == 1 else UNKNOWN
    refusal = _stack_refusal(frames, contrast, selection)
    if refusal:
        return Rejection(instances[0].series_uid, refusal)
    return Plan(tuple(instances), slices, contrast)


def _identity_refusal(instances: Sequence[Instance]) -> str | None:
    if instances[0].refusal:
        return instances[0].refusal
    if not all(instance.patient_id and instance.study_uid and instance.sop_uid for instance in instances):
        return "no_identity"
    if len({(instance.patient_id, instance.study_uid) for instance in instances}) > 1:
        return "mixed_patient"
    return "duplicate_instance" if len({instance.sop_uid for instance in instances}) < len(instances) else None


def _kind_refusal(instances: Sequence[Instance]) -> str | None:
    types = [frame.types for instance in instances for frame in instance.frames]
    if any("LOCALIZER" in words for words in types):
        return "localizer"
    if any(words[:1] == ("DERIVED",) for words in types):
        return "derived"
    if any("MOSAIC" in words for words in types):
        return "mosaic"
    return None if all(instance.grey for instance in instances) else "unsupported_photometric"


def _plane_refusal(instances: Sequence[Instance], frames: Sequence[Frame]) -> str | None:
    if geometry.incomplete(frames) or min(min(instance.shape) for instance in instances) < 1:
        return "no_geometry"
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
