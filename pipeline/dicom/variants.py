"""What tells volumes at the same positions apart: PS3.3 C.7.6.16 and C.8.13, vendors' own where those are silent."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

from pipeline.dicom import private
from pipeline.dicom.contrast import Timing
from pipeline.dicom.values import tolerant

TAGS = [
    *("EchoNumbers", "DiffusionBValue", "DiffusionDirectionality", "DiffusionGradientOrientation"),
    *("TemporalPositionIdentifier", "TemporalPositionIndex", "TriggerTime", "AcquisitionNumber", "AcquisitionTime"),
    *("InstanceNumber", "DimensionIndexSequence"),
]

#: Elements that each slice has for itself, whatever volume it is of.
OWN = ("AcquisitionTime", "InstanceNumber")

#: Digits of a time in ms: finer differences are rounding.
TIME_DIGITS = 3
#: b-values, in s/mm², within one step are one shell: what was asked for, not what each direction came to.
B_VALUE_STEP = 50.0
#: GE adds multiples of this to b-values.
_GE_B_VALUE_FLAG = 1e5

#: Dimensions that say where a frame stands, not which volume it is of: StackID, InStackPositionNumber,
#: ImagePositionPatient, ImagePositionVolume, ImageOrientationPatient, TablePosition.
_WHERE = {0x00209056, 0x00209057, 0x00200032, 0x00209301, 0x00200037, 0x00189327}

#: Words of Siemens for how a picture was corrected or filtered: it is still the same picture.
_PROCESSING = {"ND", "DIS2D", "DIS3D", "NORM", "FIL", "FM", "PFP", "SH", "SH1", "SH2", "SH3", "SH4", "SH5"}

_NONE = -1.0


class Variant(NamedTuple):
    """The attributes that may part the frames of a series into volumes, in the order in which they are tried.

    Attributes:
        kind: words of ImageType or FrameType, and the part of a complex value.
        echo_ms, inversion_ms, flip_deg: -1 where missing.
        b_value: s/mm², on the nearest shell of `B_VALUE_STEP`; -1 where missing.
        direction: of the diffusion gradient, with the exact b-value.
        label: of arterial spin labelling.
        temporal: TemporalPositionIdentifier or TemporalPositionIndex; -1 where missing.
        phase: delay after the trigger in ms, or share of the cycle in percent; -1 where missing.
        dimensions: DimensionIndexValues but those of `_WHERE`.
        form: classic or enhanced: one scan that was exported in both is not mixed.
        acquisition, time: AcquisitionNumber, AcquisitionTime (hhmmss.f), which many writers change slice by slice;
            -1 where missing.
        order: InstanceNumber, FrameNumber: the order of frames that nothing else parts.
    """

    kind: str
    echo_ms: float
    inversion_ms: float
    flip_deg: float
    b_value: float
    direction: str
    label: str
    temporal: float
    phase: float
    dimensions: tuple[int, ...]
    form: str
    acquisition: float
    time: float
    order: tuple[float, ...]

    @property
    def sequence(self) -> tuple[object, ...]:
        """The place among volumes of one contrast: time, then the order of the frames."""
        return self.temporal, self.phase, self.dimensions, self.order, self.direction, self.label, self.form

    @property
    def contrast(self) -> tuple[str | float, ...]:
        """What makes another picture of the same anatomy; the rest repeats one."""
        return " ".join(word for word in self.kind.split() if word not in _PROCESSING), *self[1:5]


def classic(dataset: Any, vendors: private.Elements, types: tuple[str, ...], component: str, timing: Timing) -> Variant:
    """The variant of a classic file; `vendors` are its private elements."""
    b_value, direction = _classic_diffusion(dataset, vendors)
    return Variant(
        kind=" ".join((*types, component)),
        echo_ms=_rounded(timing.echo_time_ms if timing.echo_time_ms is not None else tolerant(dataset, "EchoNumbers")),
        inversion_ms=_rounded(timing.inversion_time_ms),
        flip_deg=_rounded(timing.flip_angle_deg),
        b_value=_shell(b_value),
        direction=direction,
        label=str(vendors.value(private.PHILIPS_LABEL) or "").strip(),
        temporal=_first(dataset, ("TemporalPositionIdentifier", "TemporalPositionIndex")),
        phase=_first(dataset, ("TriggerTime",)),
        dimensions=(),
        form="classic",
        acquisition=_first(dataset, ("AcquisitionNumber",)),
        **own(dataset),
    )


def own(dataset: Any) -> dict[str, Any]:
    """The fields of a classic file's variant that come from the elements of `OWN`."""
    return {
        "time": _first(dataset, ("AcquisitionTime",)),
        "order": (tolerant(dataset, "InstanceNumber") or 0.0, 0.0),
    }


def enhanced(
    dataset: Any, macro: Callable[[str], Any], types: tuple[str, ...], component: str, timing: Timing, frame_number: int
) -> Variant:
    """The variant of a frame; `macro` gives the item of a functional group, an empty one where it is missing."""
    content, cardiac = macro("FrameContentSequence"), macro("CardiacSynchronizationSequence")
    diffusion, spin = macro("MRDiffusionSequence"), macro("MRArterialSpinLabelingSequence")
    velocity = macro("MRVelocityEncodingSequence")
    b_value = tolerant(diffusion, "DiffusionBValue")
    gradients = diffusion.get("DiffusionGradientDirectionSequence")
    orientation = gradients[0].get("DiffusionGradientOrientation") if gradients else None
    return Variant(
        kind=" ".join((*types, component, _text(velocity, "VelocityEncodingDirection"))).strip(),
        echo_ms=_rounded(timing.echo_time_ms),
        inversion_ms=_rounded(timing.inversion_time_ms),
        flip_deg=_rounded(timing.flip_angle_deg),
        b_value=_shell(b_value),
        direction=_direction(diffusion, b_value, orientation),
        label=_text(spin, "ASLContext"),
        temporal=_first(content, ("TemporalPositionIndex",)),
        phase=_first(cardiac, ("NominalCardiacTriggerDelayTime", "NominalPercentageOfCardiacPhase")),
        dimensions=_dimensions(dataset, content),
        form="enhanced",
        acquisition=_first(content, ("FrameAcquisitionNumber",)),
        time=_NONE,
        order=(tolerant(dataset, "InstanceNumber") or 0.0, float(frame_number)),
    )


def _classic_diffusion(dataset: Any, vendors: private.Elements) -> tuple[float | None, str]:
    """The b-value and direction of a classic file: the standard's elements, else the vendors'."""
    b_value, orientation = tolerant(dataset, "DiffusionBValue"), dataset.get("DiffusionGradientOrientation")
    for place in (private.SIEMENS_B_VALUE, private.PHILIPS_B_VALUE, private.GE_B_VALUE, private.UIH_B_VALUE):
        if b_value is None:
            b_value = vendors.number(place)
            if b_value is not None and place is private.GE_B_VALUE:
                b_value %= _GE_B_VALUE_FLAG
    if not orientation:
        orientation = (
            vendors.numbers(private.SIEMENS_DIRECTION)
            or vendors.numbers(private.UIH_DIRECTION)
            or [
                component
                for triple in (private.PHILIPS_DIRECTION, private.GE_DIRECTION)
                for component in (vendors.number(place) for place in triple)
                if component is not None
            ]
        )
    return b_value, _direction(dataset, b_value, orientation)


def _direction(dataset: Any, b_value: float | None, orientation: Any) -> str:
    words = (_text(dataset, "DiffusionDirectionality"), b_value, orientation or None)
    return " ".join(str(word) for word in words if word not in ("", None))


def _dimensions(dataset: Any, content: Any) -> tuple[int, ...]:
    """DimensionIndexValues of the dimensions that do not say where a frame stands (PS3.3 C.7.6.17)."""
    indices = content.get("DimensionIndexValues")
    pointers = [item.get("DimensionIndexPointer") for item in dataset.get("DimensionIndexSequence") or ()]
    indices = [indices] if isinstance(indices, int) else list(indices or ())
    if len(indices) != len(pointers):
        return ()
    return tuple(
        int(index) for index, pointer in zip(indices, pointers, strict=True) if int(pointer or 0) not in _WHERE
    )


def _text(dataset: Any, keyword: str) -> str:
    found = dataset.get(keyword)
    return "" if found is None else str(found)


def _first(dataset: Any, keywords: tuple[str, ...]) -> float:
    """The first of these elements that is a number, or -1."""
    found = (tolerant(dataset, keyword) for keyword in keywords)
    return _rounded(next((value for value in found if value is not None), None))


def _rounded(value: float | None) -> float:
    return _NONE if value is None else round(value, TIME_DIGITS)


def _shell(b_value: float | None) -> float:
    return _NONE if b_value is None else round(b_value / B_VALUE_STEP) * B_VALUE_STEP
