"""Headers as text and back, exactly: what ingest remembers of files that it has read."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import fields, is_dataclass
from pathlib import Path
from typing import Any

from pipeline.dicom.contrast import Timing
from pipeline.dicom.frames import Frame
from pipeline.dicom.header import Instance
from pipeline.dicom.plain_pixels import PlainPixels
from pipeline.dicom.reasons import Rejection
from pipeline.dicom.variants import Variant

Header = Instance | Rejection


def dumps(headers: Sequence[Header]) -> str:
    """Headers of one file, without its path."""
    return json.dumps([_row(header) for header in headers], separators=(",", ":"))


def loads(text: str, path: Path) -> list[Header]:
    """The headers again, of a file that lies at `path` now."""
    return [_header(row, path) for row in json.loads(text)]


def _row(header: Header) -> list[Any]:
    return [header.reason] if isinstance(header, Rejection) else _values(header)[1:]


def _values(value: Any) -> Any:
    """Fields in their order; JSON knows no tuples, sets and classes."""
    if is_dataclass(value):
        return [_values(getattr(value, field.name)) for field in fields(value)]
    if isinstance(value, (tuple, list)):
        return [_values(item) for item in value]
    if isinstance(value, frozenset):
        return sorted(value)
    return None if isinstance(value, Path) else value


def _header(row: list[Any], path: Path) -> Header:
    if len(row) == 1:
        return Rejection(str(path), row[0])
    found = dict(zip(_INSTANCE, row, strict=True))
    found["shape"], found["start"] = tuple(found["shape"]), tuple(found["start"])
    found["frames"] = tuple(_frame(values) for values in found["frames"])
    if found["pixels"] is not None:
        shape, *others = found["pixels"]
        found["pixels"] = PlainPixels(tuple(shape), *others)
    return Instance(path, **found)


def _frame(values: list[Any]) -> Frame:
    found = dict(zip(_FRAME, values, strict=True))
    for name in ("position", "orientation", "pixel_spacing", "types"):
        if found[name] is not None:
            found[name] = tuple(found[name])
    found["variant"] = Variant._make(tuple(v) if isinstance(v, list) else v for v in found["variant"])
    timing: list[Any] = [frozenset(v) if isinstance(v, list) else v for v in found["timing"]]
    found["timing"] = Timing(*timing)
    return Frame(**found)


_INSTANCE = tuple(field.name for field in fields(Instance))[1:]
_FRAME = tuple(field.name for field in fields(Frame))
