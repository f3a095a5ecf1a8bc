"""What the code in this folder needs of a release's contract, without pydantic."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

TaskKind = str
Calibration = Any


@dataclass(frozen=True)
class Transform:
    """See `prepare.prepare`."""

    size: int
    window_percentiles: tuple[float, float]
    head_margin_mm: float
