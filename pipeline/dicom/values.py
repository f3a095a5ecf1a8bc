"""Values of DICOM elements as plain Python, whatever a vendor left out."""

from __future__ import annotations

import math
import struct
import zlib
from collections.abc import Iterable
from typing import Any

from pydicom.errors import BytesLengthException, InvalidDicomError

#: What pydicom raises on bytes that are not, or no longer, the DICOM they claim to be.
DAMAGED = (
    InvalidDicomError, BytesLengthException, ValueError, TypeError, KeyError, IndexError, AttributeError, EOFError,
    NotImplementedError, OverflowError, RuntimeError, struct.error, zlib.error,
)  # fmt: skip
#: The same, and what pydicom and the system raise on a file that ends or fails.
UNREADABLE = (*DAMAGED, OSError)


def words(values: Any) -> tuple[str, ...]:
    """A CS element, single or multi-valued, as upper-case words; empty where missing."""
    if not values:
        return ()
    return tuple(str(word).upper() for word in ([values] if isinstance(values, str) else values))


def number(value: Any) -> float | None:
    """A finite number, or None where it is missing, empty or not finite."""
    if value is None or value == "":
        return None
    result = float(value)
    return result if math.isfinite(result) else None


def tolerant(dataset: Any, keyword: str) -> float | None:
    """The number of an element, or None also where it is damaged: what only orders volumes must not refuse a file."""
    try:
        return number(dataset.get(keyword))
    except DAMAGED:
        return None


def positive(value: Any) -> float | None:
    """A number above 0, or None: zero is what some vendors write for `does not apply`."""
    result = number(value)
    return result if result is not None and result > 0 else None


def numbers(values: Any, count: int) -> tuple[float, ...] | None:
    """Exactly `count` finite numbers, or None."""
    if not isinstance(values, Iterable) or isinstance(values, str):
        return None
    result = tuple(float(value) for value in values)
    return result if len(result) == count and all(map(math.isfinite, result)) else None
