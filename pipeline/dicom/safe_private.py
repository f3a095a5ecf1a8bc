"""Private elements: the few that are known to be safe stay, all others go (PS3.15 E.3.10)."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Any

from pydicom.dataelem import DataElement, RawDataElement, convert_raw_data_element
from pydicom.tag import Tag

from pipeline.dicom.confidentiality import SafePrivate, safe_private
from pipeline.dicom.csa_reduced import reduced
from pipeline.dicom.values import DAMAGED

#: Numbers; whatever stands in them cannot be a text.
NUMERIC = frozenset({"DS", "FD", "FL", "IS", "SL", "SS", "SV", "UL", "US", "UV"})

#: CS (PS3.5 6.2).
CODE = re.compile(r"[A-Z0-9_ ]{0,16}")

_CREATORS = range(0x10, 0x100)


def safe_elements(dataset: Any) -> list[DataElement]:
    """The safe private elements of one level of a data set, with the creators that reserve their blocks."""
    kept: list[DataElement] = []
    for tag in _creators(dataset):
        creator = _creator(dataset, tag)
        found = list(_block(dataset, tag, creator))
        if found:
            kept += [DataElement(tag, "LO", creator), *found]
    return kept


def _creators(dataset: Any) -> list[Any]:
    return [tag for tag in dataset.keys() if tag.group % 2 and tag.element in _CREATORS]  # noqa: SIM118


def _creator(dataset: Any, tag: Any) -> str:
    try:
        return str(dataset[tag].value).strip()
    except (*DAMAGED, OSError):
        return ""


def _block(dataset: Any, creator_tag: Any, creator: str) -> Iterable[DataElement]:
    for (group, name, element), safe in safe_private().items():
        tag = Tag(group, creator_tag.element << 8 | element)
        if group == creator_tag.group and name == creator and tag in dataset:
            kept = _kept(dataset.get_item(tag), safe)
            if kept is not None:
                yield kept


def _kept(raw: Any, safe: SafePrivate) -> DataElement | None:
    """The element if it is what the list says: a number or a code; a CSA header anew."""
    if safe.vr == "OB":
        content = reduced(raw.value) if isinstance(raw.value, bytes) else None
        return None if content is None else DataElement(raw.tag, "OB", content)
    try:
        if isinstance(raw, RawDataElement):
            if raw.VR not in (None, "UN", safe.vr):
                return None
            raw = convert_raw_data_element(raw._replace(VR=safe.vr))
        elif safe.vr != raw.VR:
            return None
        values = list(raw.value) if raw.VM > 1 else [raw.value]
        good = all(CODE.fullmatch(value) if safe.vr == "CS" else float(value) is not None for value in values)
    except (*DAMAGED, OSError):
        return None
    return DataElement(raw.tag, safe.vr, raw.value) if good else None
