"""Private elements: the few that are known to be safe stay, all others go (PS3.15 E.3.10)."""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import Any

from pydicom.dataelem import DataElement, RawDataElement, convert_raw_data_element
from pydicom.tag import Tag

from pipeline.dicom.confidentiality import safe_private
from pipeline.dicom.csa_reduced import reduced
from pipeline.dicom.dummies import CODE, spells
from pipeline.dicom.private import creators
from pipeline.dicom.values import UNREADABLE


def safe_elements(dataset: Any) -> list[DataElement]:
    """The safe private elements of one level of a data set, with the creators that reserve their blocks."""
    kept: list[DataElement] = []
    for tag, creator in creators(dataset):
        found = list(_block(dataset, tag, creator))
        if found:
            kept += [DataElement(tag, "LO", creator), *found]
    return kept


def _block(dataset: Any, reserved: int, creator: str) -> Iterable[DataElement]:
    """The safe elements in the block that a creator reserved."""
    for place, vr in safe_private().items():
        tag = Tag(place.group, (reserved & 0xFF) << 8 | place.element)
        if (place.group, place.creator) == (reserved >> 16, creator) and tag in dataset:
            kept = _kept(dataset.get_item(tag), vr)
            if kept is not None:
                yield kept


def _kept(raw: Any, vr: str) -> DataElement | None:
    """The element if it is what the list says: a number or a code; a CSA header anew."""
    if vr == "OB":
        content = reduced(raw.value) if isinstance(raw.value, bytes) else None
        return None if content is None else DataElement(raw.tag, "OB", content)
    try:
        if isinstance(raw, RawDataElement):
            if raw.VR not in (None, "UN", vr):
                return None
            raw = convert_raw_data_element(raw._replace(VR=vr))
        elif vr != raw.VR:
            return None
        values = list(raw.value) if raw.VM > 1 else [raw.value]
        good = all(CODE.fullmatch(value) if vr == "CS" else math.isfinite(float(value)) for value in values)
    except UNREADABLE:
        return None
    return DataElement(raw.tag, vr, raw.value) if good and not spells(vr, values) else None
