"""Checkpoints of a training, in the cache directory: they outlive a killed stage, whose outputs DVC deletes."""

from __future__ import annotations

import hashlib
import io
import json
import shutil
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch

from pipeline.files import sha256_file, write_atomic


@dataclass
class Progress:
    """Where a training stands; everything in it is a number, a string or a tensor.

    Attributes:
        phase: index of the phase to go on with.
        epoch: epochs of that phase that are done.
        stale: epochs since the best one of this phase.
        best_auroc: best validation AUROC so far, -1 before any.
        model: parameters now.
        best: parameters of the best epoch.
        optimizer: the optimizer's state.
        history: a row an epoch.
    """

    phase: int = 0
    epoch: int = 0
    stale: int = 0
    best_auroc: float = -1.0
    model: dict[str, torch.Tensor] = field(default_factory=dict)
    best: dict[str, torch.Tensor] = field(default_factory=dict)
    optimizer: dict[str, Any] = field(default_factory=dict)
    history: list[dict[str, Any]] = field(default_factory=list)


class Checkpoint:
    """One file in a folder named after the hash of everything the training depends on."""

    def __init__(self, cache: Path, name: str, inputs: list[Path], settings: dict[str, Any]) -> None:
        digest = hashlib.sha256(json.dumps(settings, sort_keys=True, default=str).encode())
        for path in inputs:
            digest.update(sha256_file(path).encode())
        self.path = cache / f"{name}-{digest.hexdigest()[:16]}" / "checkpoint.pt"

    def load(self) -> dict[str, Any] | None:
        """The last state that was wholly written, or None."""
        if not self.path.is_file():
            return None
        return dict(torch.load(self.path, map_location="cpu", weights_only=True))

    def save(self, state: dict[str, Any]) -> None:
        """Replace the checkpoint; a kill leaves the old one or the new one.

        Args:
            state: numbers, strings and tensors, in lists and dicts.
        """
        buffer = io.BytesIO()
        torch.save(state, buffer)
        write_atomic(self.path, lambda handle: handle.write(buffer.getbuffer()))

    def remove(self) -> None:
        """Forget it: the training's result is written."""
        shutil.rmtree(self.path.parent, ignore_errors=True)
