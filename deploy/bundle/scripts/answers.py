"""The answers of a run as a CSV file."""

from __future__ import annotations

import csv
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from ignite.engine import Engine, Events

from pipeline.targets import Targets, decided


class Predictions:
    """A handler of MONAI's evaluator that writes `predictions.csv`.

    A row a volume, or a slice of it: the file as MONAI read it, the place of the slice along the volume, the
    probabilities, and the decision at the release's threshold.
    """

    def __init__(
        self, output_dir: str, kind: Any, classes: Sequence[str], threshold: float | list[float] | None
    ) -> None:
        self._path = Path(output_dir) / "predictions.csv"
        self._targets = Targets(kind, tuple(classes))
        self._threshold = threshold
        self._rows: list[list[Any]] = []

    def attach(self, engine: Engine) -> None:
        """Listen to an evaluator."""
        engine.add_event_handler(Events.ITERATION_COMPLETED, self._keep)
        engine.add_event_handler(Events.COMPLETED, self._write)

    def _keep(self, engine: Engine) -> None:
        for output in engine.state.output:
            file, found = output["image"].meta["filename_or_obj"], np.asarray(output["pred"], np.float64)
            for place, row in enumerate(found.T if found.ndim == 2 else [found]):
                decision = self._targets.words(decided(row[np.newaxis], self._threshold)[0])
                self._rows.append([file, place if found.ndim == 2 else "", *row, decision])

    def _write(self, _engine: Engine) -> None:
        binary = self._targets.kind == "binary"
        named = ["probability"] if binary else [f"probability_{name}" for name in self._targets.named]
        self._path.parent.mkdir(parents=True, exist_ok=True)
        with open(self._path, "w", newline="", encoding="utf-8") as handle:
            csv.writer(handle, lineterminator="\n").writerows([["file", "slice", *named, "decision"], *self._rows])
