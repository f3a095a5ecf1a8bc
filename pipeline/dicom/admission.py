"""Which volumes are taken: the checks in the order of `reasons.REASONS`, on headers alone."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from pipeline.contract import Merit, Selection
from pipeline.dicom import geometry
from pipeline.dicom import selection as rules
from pipeline.dicom.contrast import UNKNOWN
from pipeline.dicom.frames import Frame, is_derived, is_original
from pipeline.dicom.header import Instance
from pipeline.dicom.reasons import REASONS, Rejection
from pipeline.dicom.traits import Traits, traits
from pipeline.dicom.volumes import split

#: A file, by its place among those of the series, and one of its planes.
Plane = tuple[int, Frame]

#: PatientID, StudyInstanceUID and contrast.
Unit = tuple[str, str, str]

#: Merits in their order, SeriesInstanceUID and place in the series: no two volumes have the same.
Rank = tuple[tuple[Any, ...], str, int]
Best = dict[Unit, Rank]


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


@dataclass(frozen=True)
class Verdict:
    """What becomes of one volume, or of planes of a series that make none.

    Attributes:
        first: a file of the series.
        traits: what its headers tell; None where the series holds no planes.
        plan: how it is read, where it is taken.
        reason: a key of `reasons.REASONS` where it is not.
        volume_number: as in `Plan`.
    """

    first: Instance = field(repr=False)
    traits: Traits | None
    plan: Plan | None = None
    reason: str | None = None
    volume_number: int | None = None


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


def judge(instances: Sequence[Instance], selection: Selection | None) -> list[Verdict]:
    """What becomes of each volume of one series, and of the rest of it.

    Of the volumes that repeat one contrast (time points, directions of diffusion) the first that is in order is taken;
    of a series that was exported in classic and in enhanced files, those of one kind.
    """
    planes = [(place, frame) for place, instance in enumerate(instances) for frame in instance.frames]
    if refusal := _identity_refusal(instances):
        return [_left(instances, planes, refusal)]
    annotated = any(instance.annotated for instance in instances)
    kinds: dict[str | None, list[Plane]] = {}
    for place, frame in planes:
        kinds.setdefault(_kind_refusal(instances[place], frame, annotated), []).append((place, frame))
    pictures = kinds.pop(None, [])
    left = [_left(instances, others, kind) for kind, others in kinds.items() if kind]
    return [*(_volumes(instances, pictures, selection) if pictures else []), *left]


def admit(instances: Sequence[Instance], selection: Selection | None) -> list[Plan | Rejection]:
    """What is read of one series by itself, and why the rest is not: `judge` and `outcome` in one step."""
    return outcome(judge(instances, selection))


def outcome(verdicts: Sequence[Verdict]) -> list[Plan | Rejection]:
    """The plans for the volumes of one series that are taken, and why the rest is refused, once for each reason.

    A series of which nothing is taken has the one reason that is asked first.
    """
    plans = [verdict.plan for verdict in verdicts if verdict.plan]
    refused = {verdict.reason for verdict in verdicts if verdict.reason}
    reasons = [reason for reason in REASONS if reason in refused]
    series = verdicts[0].first.series_uid
    if not plans:
        return [Rejection(series, reasons[0])]
    return [*plans, *(Rejection(series, reason, part=True) for reason in reasons)]


def best_of_study(series: Iterable[Sequence[Verdict]], merits: Sequence[Merit]) -> Best:
    """Of each contrast in a study the rank of the best volume that is taken; series are not kept.

    It is chosen by headers alone. Where all merits are equal, the last by SeriesInstanceUID wins, and of its volumes
    the first: neither depends on the key of the pseudonyms, nor on the order of the files.
    """
    best: Best = {}
    for verdict in (verdict for verdicts in series for verdict in verdicts):
        if verdict.plan:
            unit, rank = unit_of(verdict), _rank(verdict, merits)
            best[unit] = max(best.get(unit, rank), rank)
    return best


def only_best(verdicts: Sequence[Verdict], best: Best, merits: Sequence[Merit]) -> list[Verdict]:
    """The same verdicts, but that volumes are left that are not the best of their study."""
    return [
        replace(verdict, plan=None, reason="not_best_of_study")
        if verdict.plan and _rank(verdict, merits) != best[unit_of(verdict)]
        else verdict
        for verdict in verdicts
    ]


def unit_of(verdict: Verdict) -> Unit:
    """Patient, study and contrast of a volume; identifying."""
    contrast = verdict.traits.inference.contrast if verdict.traits else UNKNOWN
    return verdict.first.patient_id, verdict.first.study_uid, contrast


def _rank(verdict: Verdict, merits: Sequence[Merit]) -> Rank:
    assert verdict.traits is not None
    worth = rules.worth(verdict.traits, merits)
    return worth, verdict.first.series_uid, -(verdict.volume_number or 0)


def _left(instances: Sequence[Instance], planes: Sequence[Plane], reason: str) -> Verdict:
    """The verdict on planes of which nothing is taken."""
    known = traits(instances[0], [frame for _, frame in planes]) if planes else None
    return Verdict(instances[0], known, reason=reason)


def _volumes(instances: Sequence[Instance], planes: Sequence[Plane], selection: Selection | None) -> list[Verdict]:
    """The verdicts on the volumes of these planes; one verdict where they do not make volumes."""
    frames = [frame for _, frame in planes]
    if refusal := _plane_refusal([instances[place] for place, _ in planes], frames):
        return [_left(instances, planes, refusal)]
    volumes = split(frames)
    verdicts: list[Verdict] = []
    taken: set[object] = set()
    forms: set[str] = set()
    for volume in volumes:
        own = [frames[index] for index in volume.planes]
        known, variant = traits(instances[0], own), own[0].variant
        shown = variant.contrast, volume.beside
        again = shown in taken or bool(forms - {variant.form})
        reason = volume.fault or _stack_refusal(own, known, selection) or ("repeated_volume" if again else None)
        if math.prod(instances[planes[volume.planes[0]][0]].shape) * len(own) > geometry.MAX_VOLUME_VOXELS:
            reason = "too_large"
        number = volume.number if len(volumes) > 1 else None
        slices = tuple(planes[index] for index in volume.planes)
        plan = None if reason else Plan(tuple(instances), slices, known.inference.contrast, number)
        if plan:
            taken.add(shown)
            forms.add(plan.form)
        verdicts.append(Verdict(instances[0], known, plan, reason, number))
    return verdicts


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


def _stack_refusal(frames: Sequence[Frame], known: Traits, selection: Selection | None) -> str | None:
    least = max(geometry.MIN_SLICES, selection.min_slices if selection else 0)
    if len(frames) < geometry.MIN_SLICES:
        return "too_few_slices"
    if stack := geometry.stack_refusal(frames):
        return stack
    if len(frames) < least:
        return "too_few_slices"
    if not all(frame.magnitude for frame in frames):
        return "not_magnitude"
    return rules.refusal(known, selection) if selection else None
