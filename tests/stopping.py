"""A training that is stopped where it writes its state down."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from pipeline.transfer.checkpoint import Checkpoint


class Stop(Exception):
    """The end that `StopsAfter` makes."""


class StopsAfter(Checkpoint):
    """Raises `Stop` once it has saved so many times."""

    def __init__(self, saves: int, cache: Path, name: str, inputs: list[Path], settings: dict[str, Any]) -> None:
        super().__init__(cache, name, inputs, settings)
        self.left = saves

    def save(self, state: dict[str, Any]) -> None:
        super().save(state)
        self.left -= 1
        if self.left == 0:
            raise Stop
