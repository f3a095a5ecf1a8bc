"""Code sequences: codes of the standard's schemes stay, with the meaning that the scheme gives them, not the file."""

from __future__ import annotations

import re
from functools import cache
from typing import Any

from pydicom.datadict import keyword_dict

#: What a code looks like in the schemes whose codes are kept although no list of them is at hand (PS3.16 chapter 8).
_FORMS = {
    "LN": re.compile(r"\d{1,7}-\d"),
    "SCT": re.compile(r"\d{6,18}"),
    "SNM3": re.compile(r"[A-Z]\d?-[0-9A-Z]{4,5}"),
    "SRT": re.compile(r"[A-Z]\d?-[0-9A-Z]{4,5}"),
}

#: Schemes whose every code that DICOM uses is known here.
_LISTED = ("DCM", "SCT", "UCUM", "RADLEX", "FMA", "NEU")

_MOST_LENGTH = 64  # of a meaning, LO

#: Attributes of a code item (PS3.3 8.8) whose text is the file's own.
KEYWORDS = frozenset({"CodeValue", "CodeMeaning", "CodingSchemeDesignator", "CodingSchemeVersion"})
TAGS = tuple(sorted(keyword_dict[keyword] for keyword in KEYWORDS))


def meaning(scheme: Any, value: Any) -> str | None:
    """What a code means, or the code itself where only its form is known; None for a code of somebody's own."""
    scheme, value = str(scheme or "").strip(), str(value or "").strip()
    known = _meanings().get((scheme, value))
    form = _FORMS.get(scheme)
    return known or (value if form and form.fullmatch(value) else None)


@cache
def _meanings() -> dict[tuple[str, str], str]:
    from pydicom.sr.codedict import codes  # 0.3 s, for those who write DICOM alone

    return {
        (scheme, code.value): code.meaning[:_MOST_LENGTH]
        for scheme in _LISTED
        for code in getattr(codes, scheme).concepts.values()
    }
