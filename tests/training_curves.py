"""Made-up courses of training, in the form that `models/<name>/history.csv` and `curve.npz` have."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt
from sklearn.metrics import roc_auc_score

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
            "val_loss": "0.7",
            "kept": str(int(row == 1)),
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


def judged(
    rows: list[dict[str, str]], labels: npt.NDArray[np.floating], values: npt.NDArray[np.float32]
) -> list[dict[str, str]]:
    """The rows with the validation AUROC of each, as far as there is one, and the best so far kept."""
    if not 0 < labels[:, 0].sum() < len(labels):
        return rows
    aurocs = [roc_auc_score(labels, given, average="macro") for given in values]
    tops = np.maximum.accumulate([-1.0, *aurocs[1:]])
    return [
        row | {"val_auroc": str(round(float(auroc), 6)), "kept": str(int(place > 0 and auroc >= tops[place]))}
        for place, (row, auroc) in enumerate(zip(rows, aurocs, strict=True))
    ]


def save(folder: Path, rows: list[dict[str, str]], values: npt.NDArray[np.float32]) -> None:
    """history.csv and curve.npz."""
    write_csv(folder / "history.csv", rows[0], rows)
    write_atomic(folder / "curve.npz", lambda handle: np.savez(handle, logits=values))


def course(seed: int, folder: Path, labels: npt.NDArray[np.float32]) -> None:
    """The course of a training on validation units of (U, K) labels, in phases as in the shipped params.yaml."""
    separations = [[0, 0.4, 0.8, 1.5, 2.0], [0, 0.2, 0.6, 0.9, 1.2]][seed]
    phases = [[("head", 2, 0.0), ("all", 2, 1.0)], [("all", 4, 1.0)]][seed]
    values = logits(labels, separations, seed)
    save(folder, judged(history(phases), labels, values), values)
