"""Made-up courses of training, in the form that `models/<name>/history.csv` and `curve.npz` have."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt

from pipeline.files import write_atomic, write_csv

SLICES = 1000  # of an epoch


def history(phases: Sequence[tuple[str, int, float]]) -> list[dict[str, str]]:
    """Rows of history.csv.

    Args:
        phases: name, epochs, and the share of the trunk that is computed for each slice.
    """
    rows = [("start", 0.0, 0.0)]
    for name, epochs, share in phases:
        rows += [(name, SLICES, SLICES * share)] * epochs
    names, slices, passes = zip(*rows, strict=True)
    learned, computed = np.cumsum(slices), np.cumsum(passes)
    return [
        {
            "phase": name,
            "epoch": str(row),
            "learning_rate": "0.01" if row else "",
            "train_loss": str(round(0.7 / (1 + row), 6)) if row else "",
            "val_auroc": "0.5",
            "slices": str(int(learned[row])),
            "passes": str(float(computed[row])),
        }
        for row, name in enumerate(names)
    ]


def logits(
    labels: npt.NDArray[np.floating], separations: Sequence[float], seed: int, noise: float = 1.0
) -> npt.NDArray[np.float32]:
    """(E, U, K) logits of (U, K) labels: positives lie `separations[e]` above negatives; 0 stands for no answer at all.

    The noise of a unit is the same in all rows, as a network makes the same mistakes again.
    """
    own = np.random.default_rng(seed).normal(scale=noise, size=labels.shape)
    rows = [separation * labels + own if separation else np.zeros_like(own) for separation in separations]
    return np.stack(rows).astype(np.float32)


def save(folder: Path, rows: list[dict[str, str]], values: npt.NDArray[np.float32]) -> None:
    """history.csv and curve.npz."""
    write_csv(folder / "history.csv", rows[0], rows)
    write_atomic(folder / "curve.npz", lambda handle: np.savez(handle, logits=values))
