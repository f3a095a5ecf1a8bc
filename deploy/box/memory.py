"""Memory that the box and its worker hold, as Linux says."""

from __future__ import annotations

import os
from pathlib import Path

_PAGE_BYTES = os.sysconf("SC_PAGE_SIZE")


def resident_bytes() -> dict[str, int]:
    """Of the box's own process, and of those that it started, together."""
    tasks = Path("/proc/self/task").glob("*/children")
    children = {number for each in tasks for number in _read(each).split()}
    return {"box": _of("self"), "worker": sum(_of(number) for number in children)}


def _of(process: str) -> int:
    words = _read(Path("/proc") / process / "statm").split()
    return int(words[1]) * _PAGE_BYTES if len(words) > 1 else 0


def _read(path: Path) -> str:
    """Empty where the process has just gone."""
    try:
        return path.read_text()
    except OSError:
        return ""
