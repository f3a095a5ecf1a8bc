"""One image plane: where it stands, how its values are meant, and what tells it from others at the same place."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

from pipeline.dicom import contrast, private, variants
from pipeline.dicom.contrast import Timing
from pipeline.dicom.values import number, numbers, words
from pipeline.dicom.variants import Variant

TAGS = [
    *("ImageType", "ComplexImageComponent", "ImagePositionPatient", "ImageOrientationPatient", "PixelSpacing"),
    *("RescaleSlope", "RescaleIntercept"),
    *contrast.TAGS,
    *variants.TAGS,
    *private.TAGS,
]

#: Words for what was computed from images, whatever the first word says: diffusion, perfusion and relaxation maps,
#: projections, reformats and differences (PS3.3 C.8.13.3.1.4 and what vendors add).
_COMPUTED = {
    *("ADC", "EADC", "TRACE", "TRACEW", "FA", "COLFA", "CBF", "CBV", "MTT", "TTP", "T1 MAP", "T2 MAP", "T2_STAR MAP"),
    *("R1 MAP", "R2 MAP", "R2_STAR MAP", "MIP", "MINIP", "MPR", "PROJECTION IMAGE", "SUBTRACTION", "SCREEN SAVE"),
}

_MAGNITUDE = "MAGNITUDE"

#: GE says it in a private element alone (GE conformance statement, RawDataType).
_GE_COMPONENTS = {1.0: "PHASE", 2.0: "REAL", 3.0: "IMAGINARY"}

#: Words of ImageType or FrameType for values that are no magnitude: PS3.3 C.8.13.3.1.1 and what vendors add.
_NOT_MAGNITUDE = {"P", "R", "I", "PHASE", "PHASE MAP", "REAL", "IMAGINARY", "FIELD_MAP", "B0", "B0 MAP", "VELOCITY MAP"}


@dataclass(frozen=True)
class Frame:
    """One plane of pixels.

    Attributes:
        number: FrameNumber, from 1; of a mosaic the tile; None in other classic files.
        position: ImagePositionPatient, mm LPS: centre of the first pixel (PS3.3 C.7.6.2.1.1); None where missing.
        orientation: ImageOrientationPatient: direction along a row, then along a column; None where missing.
        pixel_spacing: mm between rows, then between columns; None where missing.
        slope, intercept: stored value to the scanner's value.
        precise_scale: RescaleSlope × Philips's private ScaleSlope: displayed over precise values; None where missing.
        types: values of ImageType or FrameType, upper case.
        magnitude: whether the values are magnitudes.
        variant: what differs between volumes at the same positions.
    """

    number: int | None
    position: tuple[float, ...] | None
    orientation: tuple[float, ...] | None
    pixel_spacing: tuple[float, ...] | None
    slope: float
    intercept: float
    precise_scale: float | None
    types: tuple[str, ...]
    magnitude: bool
    variant: Variant
    timing: Timing


def classic(dataset: Any) -> Frame:
    """The one plane of a classic MR file; without a place if it claims several frames, which then have none."""
    single = (number(dataset.get("NumberOfFrames")) or 1) == 1
    timing = contrast.classic(dataset)
    own = private.Elements(dataset)
    said = dataset.get("ComplexImageComponent") or _GE_COMPONENTS.get(own.number(private.GE_COMPONENT) or 0)
    types, component = frame_types(dataset.get("ImageType"), said)
    slope = number(dataset.get("RescaleSlope"))
    return Frame(
        number=None,
        position=numbers(dataset.get("ImagePositionPatient"), 3) if single else None,
        orientation=numbers(dataset.get("ImageOrientationPatient"), 6),
        pixel_spacing=numbers(dataset.get("PixelSpacing"), 2),
        slope=1.0 if slope is None else slope,
        intercept=number(dataset.get("RescaleIntercept")) or 0.0,
        precise_scale=precise_scale(own, slope),
        types=types,
        magnitude=is_magnitude(types, component),
        variant=variants.classic(dataset, own, types, component, timing),
        timing=timing,
    )


def precise_scale(own: private.Elements, slope: float | None) -> float | None:
    """RescaleSlope × ScaleSlope of a classic header, or of the classic header within an enhanced frame."""
    scale_slope = own.number(private.PHILIPS_SCALE_SLOPE)
    product = (scale_slope or 0.0) * (1.0 if slope is None else slope)
    return product if math.isfinite(product) and product > 0 else None


def frame_types(values: Any, component: Any) -> tuple[tuple[str, ...], str]:
    """The words of ImageType or FrameType, and ComplexImageComponent, which is taken for a magnitude where missing."""
    return words(values), str(component or _MAGNITUDE)


def is_magnitude(types: tuple[str, ...], component: str) -> bool:
    """Whether neither the words nor the component say otherwise."""
    return not _NOT_MAGNITUDE.intersection(types[2:]) and component in {_MAGNITUDE, "MIXED"}


def is_original(types: tuple[str, ...]) -> bool:
    """Whether the words say that the image is as acquired; a scanner writes no text into the pixels of one."""
    return types[:1] == ("ORIGINAL",)


def is_derived(types: tuple[str, ...]) -> bool:
    """Whether the words say that the image was computed from others."""
    return types[:1] == ("DERIVED",) or bool(_COMPUTED.intersection(types[2:]))
