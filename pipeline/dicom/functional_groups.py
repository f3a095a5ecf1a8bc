"""The planes of an enhanced multi-frame file, from its shared and per-frame functional groups (PS3.3 C.7.6.16)."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from pydicom.datadict import tag_for_keyword
from pydicom.sequence import Sequence

from pipeline.dicom import contrast, private, variants
from pipeline.dicom.contrast import Timing
from pipeline.dicom.frames import Frame, frame_types, is_magnitude, precise_scale
from pipeline.dicom.plain_header import Items
from pipeline.dicom.values import number, numbers

TAGS = ["SharedFunctionalGroupsSequence", "PerFrameFunctionalGroupsSequence"]

#: A data set without elements, as far as it is asked.
_NOTHING: Mapping[Any, Any] = {}

#: Tags of the groups that the timing is in: the timing of frames that have none of their own is read once.
_OF_TIMING = {tag_for_keyword(keyword) for keyword in contrast.MACROS}


def frames(dataset: Any) -> Iterator[Frame]:
    """Yield the planes in the order of their pixels; one without a place if the groups and NumberOfFrames differ."""
    shared = _first(dataset.get("SharedFunctionalGroupsSequence"))
    groups = dataset.get("PerFrameFunctionalGroupsSequence") or []
    if len(groups) != (number(dataset.get("NumberOfFrames")) or 1):
        groups = [_NOTHING]
        shared = _NOTHING
    of_all = functools.cache(lambda keyword: _first(shared.get(keyword)))
    common = contrast.enhanced(dataset, of_all)
    for index, group in enumerate(groups):
        macro = _macros(of_all, group)
        timing = common if _OF_TIMING.isdisjoint(group.keys()) else contrast.enhanced(dataset, macro)
        yield _frame(dataset, group, macro, timing, index + 1)


def _macros(of_all: Callable[[str], Any], group: Any) -> Callable[[str], Any]:
    """The item of a functional group by its keyword: the frame's own, else the one shared by all, else an empty one."""

    def macro(keyword: str) -> Any:
        own = group.get(keyword)
        return own[0] if own else of_all(keyword)

    return macro


def _frame(dataset: Any, group: Any, macro: Callable[[str], Any], timing: Timing, frame_number: int) -> Frame:
    kind = macro("MRImageFrameTypeSequence")
    said = kind.get("ComplexImageComponent") or dataset.get("ComplexImageComponent")
    types, component = frame_types(kind.get("FrameType") or dataset.get("ImageType"), said)
    transformation = macro("PixelValueTransformationSequence")
    slope = number(transformation.get("RescaleSlope"))
    return Frame(
        number=frame_number,
        position=numbers(macro("PlanePositionSequence").get("ImagePositionPatient"), 3),
        orientation=numbers(macro("PlaneOrientationSequence").get("ImageOrientationPatient"), 6),
        pixel_spacing=numbers(macro("PixelMeasuresSequence").get("PixelSpacing"), 2),
        slope=1.0 if slope is None else slope,
        intercept=number(transformation.get("RescaleIntercept")) or 0.0,
        precise_scale=precise_scale(private.Elements(_classic_twin(group)), slope),
        types=types,
        magnitude=is_magnitude(types, component),
        variant=variants.enhanced(dataset, macro, types, component, timing, frame_number),
        timing=timing,
    )


def _classic_twin(group: Any) -> Any:
    """What Philips writes beside the macros: the elements of the classic file, private ones among them."""
    sequence = private.Elements(group).value(private.PHILIPS_FRAME)
    return _first(sequence) if isinstance(sequence, (Sequence, Items)) else _NOTHING


def _first(sequence: Any) -> Any:
    """The first item of a sequence, or an empty data set."""
    return sequence[0] if sequence else _NOTHING
