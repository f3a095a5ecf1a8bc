"""Values of elements as pydicom gives them, for bytes that leave no doubt; equal bytes are decoded once."""

from __future__ import annotations

import functools
import re
import struct
from collections.abc import Callable
from typing import Any

from pydicom.dataelem import empty_value_for_VR

from pipeline.dicom.walk import Doubtful

#: Longest value that is remembered.
REMEMBERED_BYTES = 256

#: Character sets in which ASCII is ASCII, and nothing switches to another (PS3.3 C.12.1.1.2).
ASCII_SETS = {
    *("", "ISO_IR 6", "ISO_IR 100", "ISO_IR 101", "ISO_IR 109", "ISO_IR 110", "ISO_IR 144", "ISO_IR 127"),
    *("ISO_IR 126", "ISO_IR 138", "ISO_IR 148", "ISO_IR 192", "ISO 2022 IR 6", "ISO 2022 IR 100"),
}

_UID = re.compile(rb"[0-9.]+")
_TEXT = re.compile(rb"[ -\[\]-~]*")
_DECIMAL = re.compile(rb"[-+]?(?:[0-9]+\.?[0-9]*|\.[0-9]+)(?:[eE][-+]?[0-9]{1,3})?")
_INTEGER = re.compile(rb"[-+]?[0-9]{1,10}")


def _uid(content: bytes) -> str:
    content = content.rstrip(b"\0 ")
    if not _UID.fullmatch(content):
        raise Doubtful
    return content.decode()


def _code(content: bytes) -> str | list[str]:
    """AS, CS, DA, TM: padding goes at the end alone; one value, or a list."""
    values = content.rstrip(b" \0").split(b"\\")
    if not all(map(_TEXT.fullmatch, values)):
        raise Doubtful
    return values[0].decode() if len(values) == 1 else [value.decode() for value in values]


def _line(content: bytes) -> str:
    """LO, SH: one value."""
    content = content.rstrip(b"\0 ")
    if not _TEXT.fullmatch(content):
        raise Doubtful
    return content.decode()


def _decimal(content: bytes) -> float | list[float]:
    values = [value.strip(b" ") for value in content.split(b"\\")]
    if not all(map(_DECIMAL.fullmatch, values)):
        raise Doubtful
    return float(values[0]) if len(values) == 1 else [float(value) for value in values]


def _integer(content: bytes) -> int | list[int]:
    values = [value.strip(b" ") for value in content.split(b"\\")]
    if not all(map(_INTEGER.fullmatch, values)):
        raise Doubtful
    return int(values[0]) if len(values) == 1 else [int(value) for value in values]


def _binary(code: str) -> Callable[[bytes], Any]:
    size = struct.calcsize(f"<{code}")

    def decode(content: bytes) -> Any:
        if len(content) % size:
            raise Doubtful
        values = struct.unpack(f"<{len(content) // size}{code}", content)
        return values[0] if len(values) == 1 else list(values)

    return decode


def _tag(content: bytes) -> int:
    if len(content) != 4:
        raise Doubtful
    group, element = struct.unpack("<HH", content)
    return int(group << 16 | element)


_DECODERS: dict[str, Callable[[bytes], Any]] = {
    "UI": _uid,
    **dict.fromkeys(("AS", "CS", "DA", "TM"), _code),
    **dict.fromkeys(("LO", "SH"), _line),
    "DS": _decimal,
    "IS": _integer,
    "AT": _tag,
    **{vr: _binary(code) for vr, code in {"US": "H", "SS": "h", "UL": "L", "SL": "l", "FL": "f", "FD": "d"}.items()},
    **dict.fromkeys(("OB", "OW", "UN"), bytes),
}


def decode(vr: str, content: bytes) -> Any:
    """The value of an element that is no sequence.

    Raises:
        Doubtful: another VR, or bytes that break its rules.
    """
    decoder = _DECODERS.get(vr)
    if decoder is None:
        raise Doubtful
    return decoder(content) if content else empty_value_for_VR(vr)


#: The same, remembering: slices of a series share most of their values, and nothing that is given out is ever changed.
remembered = functools.lru_cache(maxsize=4096)(decode)
