"""What labels mean: their kind, their classes, and the numbers that a network learns."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from pipeline.contract import TaskKind

#: Between the classes of one multi-label cell.
SEPARATOR = ";"


@dataclass(frozen=True)
class Targets:
    """The kind of a task and its classes.

    Attributes:
        kind: binary (one output, the second class is positive), multiclass (exactly one of K classes), or multilabel
            (any of K classes, each by itself).
        classes: names; two of a binary task.
    """

    kind: TaskKind
    classes: tuple[str, ...]

    @property
    def outputs(self) -> int:
        """K, how many logits a network has."""
        return 1 if self.kind == "binary" else len(self.classes)

    def encode(self, labels: Sequence[str]) -> npt.NDArray[np.float32]:
        """Labels as slices.csv has them to float32 (U, K) of 0 and 1.

        Args:
            labels: `0` or `1`; the place of the class (multiclass); places joined by `;`, empty for none (multilabel).
        """
        if self.kind == "binary":
            return np.array([[float(label)] for label in labels], dtype=np.float32).reshape(-1, 1)
        encoded = np.zeros((len(labels), self.outputs), dtype=np.float32)
        for row, label in enumerate(labels):
            for place in label.split(SEPARATOR) if label else []:
                encoded[row, int(place)] = 1
        return encoded
