"""Values that stand in for others, and what a value must look like to stay; by VR (PS3.5 6.2)."""

from __future__ import annotations

import math
import re
import struct
from collections.abc import Callable, Iterable
from typing import Any

from pydicom.datadict import dictionary_VM, dictionary_VR
from pydicom.dataelem import DataElement
from pydicom.sequence import Sequence

#: What stands in a text that was there.
REMOVED = "REMOVED"

#: Numbers; whatever stands in them cannot be a text.
NUMERIC = frozenset({"DS", "FD", "FL", "IS", "SL", "SS", "SV", "UL", "US", "UV"})

#: CS (PS3.5 6.2).
CODE = re.compile(r"[A-Z0-9_ ]{0,16}")

#: Any text may stand in these.
TEXT = frozenset({"AE", "LO", "LT", "PN", "SH", "ST", "UC", "UR", "UT"})

DATES = frozenset({"DA", "DT", "TM"})

_FIXED = {
    "UR": "http://removed.invalid",
    "AS": "000Y",
    "DA": "19000101",
    "DT": "19000101000000",
    "TM": "000000",
    "OB": b"\0\0",
    "UN": b"\0\0",
}

#: Shorter words of a name stand in other words' places too often.
_LEAST_LETTERS = 4

_DATE_OR_UID = re.compile(r"(?<!\d)(19|20)\d\d[-./]?(0[1-9]|1[0-2])[-./]?[0-3]\d(?!\d)|(?<![\d.])[0-2](\.\d+){5,}")

#: Binary numbers, for `struct`, and the shortest word in them that is no chance.
_FORMS = {"AT": "H", "FD": "d", "FL": "f", "SL": "i", "SS": "h", "SV": "q", "UL": "I", "US": "H", "UV": "Q"}
_WORD = re.compile(rb"[A-Za-z^]{6}|[0-9]{8}")

#: The longest value of an element whose VR hangs on another element, and which therefore is still bytes.
_MOST_AMBIGUOUS_BYTES = 6


def vr_of(tag: Any, found: str) -> str | None:
    """The VR to write for a tag of PS3.6: its own, or `found` where that is one of several; None where they clash.

    A number may stand in any VR of numbers: that mistake is common and tells nothing.
    """
    try:
        vr: str = dictionary_VR(tag)
    except KeyError:
        return None
    if found in vr.split(" or ") or found == vr:
        return found
    return found if found in NUMERIC and NUMERIC.issuperset(vr.split(" or ")) else None


def dummy(tag: Any, vr: str) -> DataElement:
    """An element with a value that says nothing and that its VR allows."""
    return DataElement(tag, vr, 0 if vr in NUMERIC else _FIXED.get(vr, REMOVED))


def empty(tag: Any, vr: str) -> DataElement:
    """An element without a value."""
    return DataElement(tag, vr, Sequence() if vr == "SQ" else None)


def number_or_code(tag: Any, vr: str, value: Any) -> DataElement | None:
    """The element as it is if it holds numbers; with bad codes replaced if it holds codes; None for all else.

    More values than its multiplicity allows are no such numbers but bytes of something else, and so are those that
    spell a word: the length of a damaged element may reach over the names that follow it.
    """
    values = [] if value is None or value == "" else as_list(value)
    most = dictionary_VM(tag).split("-")[-1]
    if (most.isdigit() and len(values) > int(most)) or spells(vr, values):
        return None
    if vr == "CS":
        return DataElement(tag, vr, mapped(value, lambda code: code if CODE.fullmatch(code) else REMOVED))
    if vr == "AT":
        return DataElement(tag, vr, value)
    if isinstance(value, bytes):
        return DataElement(tag, vr, value) if " or " in vr and len(value) <= _MOST_AMBIGUOUS_BYTES else None
    if vr.split(" or ")[0] in NUMERIC and all(math.isfinite(float(number)) for number in values):
        return DataElement(tag, vr, value)
    return None


def spells(vr: str, values: list[Any]) -> bool:
    """Whether binary numbers, read as bytes, hold a word."""
    form = _FORMS.get(vr)
    if form is None or len(values) < 2:
        return False
    parts = [half for tag in values for half in (tag >> 16, tag & 0xFFFF)] if vr == "AT" else values
    return bool(_WORD.search(struct.pack(f"<{len(parts)}{form}", *parts)))


def telling(identifiers: Iterable[str]) -> Callable[[str], bool]:
    """Whether a text that may stay holds a date or UID all the same, or a word of one of these identifiers."""
    known = {word for text in identifiers for word in _words(text) if len(word) >= _LEAST_LETTERS}
    return lambda text: bool(_DATE_OR_UID.search(text) or known.intersection(_words(text)))


def _words(text: str) -> list[str]:
    return re.split(r"[\W_]+", text.lower())


def mapped(value: Any, change: Callable[[str], str | None]) -> Any:
    """`change` of each of one or several texts; empty ones stay; None if it has no answer for one of them."""
    if not value:
        return value
    changed = [change(text) if text else "" for text in (re.sub(r"[\0 ]+$", "", str(one)) for one in as_list(value))]
    return None if None in changed else changed if len(changed) > 1 else changed[0]


def as_list(value: Any) -> list[Any]:
    """The values of an element that may hold one or several."""
    return [value] if isinstance(value, (str, bytes)) or not hasattr(value, "__iter__") else list(value)
