"""What labels mean: their kind, their classes, the numbers that a network learns, and what its answers say."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from pipeline.calibrator import Calibration
from pipeline.contract import TaskKind

#: Between the classes of one multi-label cell.
SEPARATOR = ";"

Floats = npt.NDArray[np.float64]
Calls = npt.NDArray[np.bool_]


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

    @property
    def named(self) -> tuple[str, ...]:
        """The class that each of the K logits speaks of."""
        return self.classes[1:] if self.kind == "binary" else self.classes

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

    def probabilities(self, logits: npt.NDArray[np.floating], temperature: float | Sequence[float]) -> Floats:
        """Softmax (multiclass) or sigmoid of logit / temperature: float64 (U, K).

        Args:
            logits: (U, K), pooled, finite.
            temperature: one, or one for each class.
        """
        scaled = logits.astype(np.float64) / np.asarray(temperature, dtype=np.float64)
        if self.kind == "multiclass":
            powers = np.exp(scaled - scaled.max(axis=1, keepdims=True))
            return np.asarray(powers / powers.sum(axis=1, keepdims=True))
        with np.errstate(over="ignore"):  # to infinity, whose inverse is the 0 that is meant
            return np.asarray(1 / (1 + np.exp(-scaled)))

    def calibrated(self, logits: npt.NDArray[np.floating], fixed: Calibration) -> Floats:
        """Probabilities by what was fixed on validation patients: float64 (U, K).

        With knots the probability of each class is that of its isotonic calibrator: linear between the knots, level
        beyond them. Units of different logits may then have equal probabilities; `scores` tell them apart.

        Args:
            logits: (U, K), pooled, finite.
            fixed: calibrator of a model of this task.
        """
        if fixed.knots is None:
            return self.probabilities(logits, fixed.temperature)
        columns = zip(logits.T.astype(np.float64), fixed.knots, strict=True)
        return np.stack([np.interp(own, knots.logits, knots.probabilities) for own, knots in columns], axis=1)

    def scores(self, logits: npt.NDArray[np.floating]) -> Floats:
        """What units are ranked by, class by class, float64 (U, K): logits, or of a multiclass task log-probabilities.

        A logit of a softmax says nothing without the others of its unit.
        """
        values = logits.astype(np.float64)
        if self.kind != "multiclass":
            return values
        with np.errstate(invalid="ignore"):  # what is no number stays none
            return np.asarray(values - np.logaddexp.reduce(values, axis=1, keepdims=True))

    def words(self, called: Sequence[bool] | Calls) -> str:
        """Which classes are there, of K: 0 or 1 (binary), else the names, joined by `;`."""
        if self.kind == "binary":
            return str(int(called[0]))
        return SEPARATOR.join(name for name, there in zip(self.named, called, strict=True) if there)


#: Labels of 0 and 1 without names.
BINARY = Targets("binary", ("0", "1"))


def calls(probabilities: Floats, threshold: float | Sequence[float] | None) -> Calls:
    """Which classes are said to be there: bool (U, K).

    Args:
        probabilities: (U, K).
        threshold: at and above which a class is there; one, or one for each class. None: the most probable class, and
            of equals the first.
    """
    if threshold is None:
        return np.asarray(np.arange(probabilities.shape[1]) == probabilities.argmax(axis=1)[:, None])
    return np.asarray(probabilities >= np.asarray(threshold, dtype=np.float64))


def decided(probabilities: npt.NDArray[np.floating], threshold: float | Sequence[float] | None) -> Calls:
    """`calls` of what a graph gives, which is float32: as coarse a threshold is reached by what is exactly at it."""
    reached = None if threshold is None else np.asarray(threshold, np.float32).tolist()
    return calls(probabilities.astype(np.float64), reached)


def margin(
    probabilities: npt.NDArray[np.floating], threshold: float | Sequence[float] | None
) -> npt.NDArray[np.floating]:
    """How far each unit (U,) is from another decision: of several classes with thresholds, the nearest of them."""
    if threshold is None:
        ranked = np.sort(probabilities, axis=1)
        return np.asarray(ranked[:, -1] - ranked[:, -2])
    return np.asarray(np.abs(probabilities - np.asarray(threshold)).min(axis=1))
