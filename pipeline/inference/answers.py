"""What goes into a release's graph and what comes out of it, whatever runs it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import numpy as np
import numpy.typing as npt

from pipeline.errors import EngineError

Floats = npt.NDArray[np.float32]
Slices = npt.NDArray[np.uint8]

#: Names of a graph's inputs.
INPUTS = ("slices", "membership")
#: And of its outputs.
REQUIRED, OPTIONAL = ("probabilities", "logits", "slice_scores", "embedding"), ("saliency",)


@dataclass(frozen=True)
class Answers:
    """The outputs of a graph (`contract.Graph`) for N slices of B units, K outputs and F features; all float32.

    Attributes:
        probabilities: (B, K), calibrated.
        logits: (B, K), pooled.
        slice_scores: (N, K), what the calibrator says of each slice by itself.
        embedding: (B, F), the mean of the network's features.
        saliency: (N, K, h, w), by how much each place raised the logit of its slice; None where the graph has none.
    """

    probabilities: Floats
    logits: Floats
    slice_scores: Floats
    embedding: Floats
    saliency: Floats | None = None


class Backend(Protocol):
    """Runs the graph of a release.

    Attributes:
        name: what runs it, as a report shows it.
        size: height and width of its slices, in pixels.
        outputs: names of the graph's outputs, with the last dimension of each.
    """

    name: str
    size: int
    outputs: dict[str, int]

    def run(self, slices: Slices, membership: Floats) -> Answers:
        """What the graph says of uint8 (N, size, size) slices of B units, whose membership is float32 (B, N)."""
        ...


def require_names(path: Path, inputs: list[str], outputs: list[str]) -> None:
    """See that a graph takes and gives what a release's does.

    Raises:
        EngineError: it does not.
    """
    if tuple(inputs) != INPUTS or not set(REQUIRED) <= set(outputs) <= {*REQUIRED, *OPTIONAL}:
        raise EngineError(
            f"a graph of a release in {path}, which takes {', '.join(INPUTS)} and gives {', '.join(REQUIRED)}",
            f"one that takes {', '.join(inputs)} and gives {', '.join(outputs)}",
            "Name the graph of a release.",
        )


def membership(units: Sequence[str]) -> tuple[list[str], Floats]:
    """Which slice belongs to which unit.

    Args:
        units: N unit identifiers, one a slice; slices of a unit need not be neighbours.

    Returns:
        The B unit identifiers in order of first appearance, and float32 (B, N) of 0 and 1.
    """
    places = {unit: place for place, unit in enumerate(dict.fromkeys(units))}
    matrix = np.zeros((len(places), len(units)), dtype=np.float32)
    matrix[[places[unit] for unit in units], np.arange(len(units))] = 1
    return list(places), matrix


def each(count: int) -> Floats:
    """The membership of slices that are units by themselves."""
    return np.eye(count, dtype=np.float32)
