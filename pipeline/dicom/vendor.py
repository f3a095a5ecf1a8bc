"""Manufacturers, in any spelling."""

from __future__ import annotations

import re

#: Vendors by what their Manufacturer holds, in capitals with blanks around words.
_MARKS = {
    "GE": (" GE ", " GEMS ", " GENERAL ELECTRIC "),
    **{
        name: (name.upper(),) for name in ("Siemens", "Philips", "Hitachi", "Fujifilm", "Bruker", "Esaote", "Hyperfine")
    },
    "Canon": (" CANON ", "TOSHIBA"),
    "UIH": (" UIH ", "UNITED IMAGING"),
}


def vendor(manufacturer: str) -> str:
    """The known vendor of a Manufacturer in any spelling, `other`, or nothing: the text itself could say a name."""
    spelled = f" {' '.join(re.split(r'[^A-Z]+', manufacturer.upper()))} "
    known = (name for name, marks in _MARKS.items() if any(mark in spelled for mark in marks))
    return next(known, "other" if manufacturer.strip() else "")
