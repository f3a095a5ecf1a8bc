"""Checkpoints of a training, in the cache directory: they outlive a killed stage, whose outputs DVC deletes."""

from __future__ import annotations

import hashlib
import io
import json
import math
import pickle
import shutil
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch

from pipeline.code import training_version
from pipeline.errors import TrainingError
from pipeline.files import locked, sha256_file, write_atomic
from pipeline.progress import say

#: Without a change for so long, a training is one that nobody goes on with.
ABANDONED_DAYS = 30


@dataclass
class Progress:
    """Where a training stands; everything in it is a number, a string or a tensor.

    Attributes:
        phase: index of the phase to go on with.
        epoch: epochs of that phase that are done.
        stale: epochs of this phase since the one that is kept.
        least: losses (U,) of the validation units after the epoch of the least mean (`objective.unit_losses`).
        kept_auroc: validation AUROC of the epoch that is kept: the last that was not clearly worse.
        model: parameters now.
        best: parameters of the epoch that is kept.
        optimizer: the optimizer's state.
        scaler: the state of fp16's loss scale.
        average: the moving average of what learns, if one is kept.
        history: a row an epoch, and before them one of the start.
        curve: logits (U, K) of the validation units, for each row of `history`.
    """

    phase: int = 0
    epoch: int = 0
    stale: int = 0
    least: torch.Tensor = field(default_factory=lambda: torch.zeros(0))
    kept_auroc: float = math.nan
    model: dict[str, torch.Tensor] = field(default_factory=dict)
    best: dict[str, torch.Tensor] = field(default_factory=dict)
    optimizer: dict[str, Any] = field(default_factory=dict)
    scaler: dict[str, Any] = field(default_factory=dict)
    average: dict[str, torch.Tensor] = field(default_factory=dict)
    history: list[dict[str, Any]] = field(default_factory=list)
    curve: list[torch.Tensor] = field(default_factory=list)


class Checkpoint:
    """One file in a folder named after the hash of everything the training depends on.

    Attributes:
        path: of the file.
        code: version of the code that trains, as it was when the training began.
    """

    def __init__(self, cache: Path, name: str, inputs: list[Path], settings: dict[str, Any]) -> None:
        digest = hashlib.sha256(json.dumps(settings, sort_keys=True, default=str).encode())
        for path in inputs:
            digest.update(sha256_file(path).encode())
        self.path = cache / f"{name}-{digest.hexdigest()[:16]}" / "checkpoint.pt"
        self.code = training_version()

    @contextmanager
    def held(self) -> Iterator[None]:
        """Alone with it, among the trainings that ask so, as two clones of a project may; others wait."""
        folder = self.path.parent
        folder.parent.mkdir(parents=True, exist_ok=True)
        said = f"waits for another training of the same in {folder}"
        with locked(folder.parent, f"{folder.name}.lock", lambda: say(said)):
            yield

    def recordings(self, rank: int, world: int) -> Path:
        """Where process `rank` of `world` records: other code and other shares of the units record something else."""
        return self.path.parent / f"recordings-{self.code[:16]}-{rank}-of-{world}"

    def load(self) -> dict[str, Any] | None:
        """The last state that was wholly written, or None.

        Raises:
            TrainingError: other code wrote it, or it is no checkpoint; it stays where it is.
        """
        if not self.path.is_file():
            return None
        try:
            found = dict(torch.load(self.path, map_location="cpu", weights_only=True))
        except (RuntimeError, pickle.UnpicklingError, EOFError, ValueError) as error:
            raise self._unusable("a file that cannot be read as one") from error
        if found.pop("code", None) != self.code:
            raise self._unusable("one that other code wrote: another version of the pipeline or of its packages")
        return found

    def _unusable(self, found: str) -> TrainingError:
        return TrainingError(
            f"a checkpoint of this training in {self.path}",
            found,
            f"Go on with the version that wrote it, or remove {self.path.parent} to train from the start.",
        )

    def save(self, state: dict[str, Any]) -> None:
        """Replace the checkpoint; a kill or a full disk leaves the old one or the new one.

        Args:
            state: numbers, strings and tensors, in lists and dicts.
        """
        buffer = io.BytesIO()
        torch.save({**state, "code": self.code}, buffer)
        write_atomic(self.path, lambda handle: handle.write(buffer.getbuffer()))

    def remove(self) -> None:
        """Forget it, and what lies beside it: the training's result is written."""
        shutil.rmtree(self.path.parent, ignore_errors=True)


def remove_abandoned(cache: Path) -> list[Path]:
    """Remove trainings that did not end and were left for `ABANDONED_DAYS`; their recordings may be gigabytes.

    Args:
        cache: folder of checkpoints, a folder a training.

    Returns:
        The folders that were removed.
    """
    oldest = time.time() - ABANDONED_DAYS * 24 * 3600
    left = [path for path in cache.glob("*") if path.is_dir() and _last_change(path) < oldest]
    for folder in left:
        shutil.rmtree(folder, ignore_errors=True)
    return left


def _last_change(folder: Path) -> float:
    """When anything in a folder last changed, in seconds since the epoch; now, where a file goes meanwhile."""
    try:
        return max(path.stat().st_mtime for path in (folder, *folder.rglob("*")))
    except FileNotFoundError:
        return time.time()
