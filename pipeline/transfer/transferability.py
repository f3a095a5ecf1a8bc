"""How well the layers of frozen networks serve a task: probe, LogME and domain distance of each (T9, T10)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

from pipeline.contract import TaskKind
from pipeline.transfer import probe
from pipeline.transfer.domain import Distance

Array = npt.NDArray[np.float32]
Floats = npt.NDArray[np.float64]

_ROWS = 4096  # of a file of features, read at once
_LOGME_STEPS = 100
_TINY = 1e-12


@dataclass(frozen=True)
class Side:
    """The units of one side of the split.

    Attributes:
        rows: int64 (N,), places of its slices among all slices.
        unit: int64 (N,), the place 0..U-1 of each slice's unit.
        patients: (U,).
        targets: float32 (U, K).
    """

    rows: npt.NDArray[np.int64]
    unit: npt.NDArray[np.int64]
    patients: npt.NDArray[np.str_]
    targets: Array

    def means(self, features: Sequence[npt.NDArray[np.floating]]) -> Array:
        """Features of all slices (N_all, F), those of each form beside the others, to unit means (U, sum of the F).

        They may be more than memory holds: a part at a time, summed in float64.
        """
        sums = np.zeros((len(self.patients), sum(values.shape[1] for values in features)))
        for start in range(0, len(self.rows), _ROWS):
            part = slice(start, start + _ROWS)
            rows = np.concatenate([values[self.rows[part]] for values in features], axis=1)
            np.add.at(sums, self.unit[part], rows)
        return (sums / np.bincount(self.unit, minlength=len(sums))[:, None]).astype(np.float32)


def side_of(slices: Sequence[Mapping[str, str]], name: str, encode: Any) -> Side:
    """One side of data/prepared/slices.csv.

    Args:
        slices: its rows.
        name: train, val or test.
        encode: labels as they stand there to targets, `Targets.encode`.
    """
    rows = [place for place, row in enumerate(slices) if row["split"] == name]
    first: dict[str, int] = {}
    for row in rows:
        first.setdefault(slices[row]["unit"], row)
    place = {unit: number for number, unit in enumerate(first)}
    return Side(
        np.array(rows, dtype=np.int64),
        np.array([place[slices[row]["unit"]] for row in rows], dtype=np.int64),
        np.array([slices[row]["patient"] for row in first.values()], dtype=np.str_),
        encode([slices[row]["label"] for row in first.values()]),
    )


@dataclass(frozen=True)
class Layer:
    """What was measured of one layer.

    Attributes:
        name: of the block.
        depth: share of the blocks up to it, 0..1.
        features: F.
        probe: fitted on training units.
        figures: c, cv_auroc, val_auroc, logme, domain_distance; NaN where undefined.
    """

    name: str
    depth: float
    features: int
    probe: probe.Probe = field(repr=False)
    figures: dict[str, float]

    def row(self) -> dict[str, Any]:
        """As it stands in the reports, to six decimals."""
        shown = {name: round(value, 6) for name, value in self.figures.items()}
        return {"depth": round(self.depth, 4), "features": self.features, **shown}


def measure(
    features: Sequence[npt.NDArray[np.floating]],
    train: Side,
    val: Side,
    kind: TaskKind,
    choices: list[float],
    seed: int,
) -> tuple[probe.Probe, dict[str, float]]:
    """Fit a probe on the training units, and measure it on the validation units.

    Args:
        features: (N, F) of all slices, in each of the forms that the probe sees side by side. LogME has the first.
        train, val: the two sides.
        kind: of the task.
        choices: inverse regularisations.
        seed: of the folds.
    """
    learnt = train.means(features)
    fitted, facts = probe.fit(learnt, train.targets, kind, train.patients, choices, seed)
    found = facts | {
        "val_auroc": probe.auroc(val.targets, fitted.logits(val.means(features)), kind),
        "logme": logme(learnt[:, : features[0].shape[1]], train.targets),
    }
    return fitted, found


def segment(distances: Distance, blocks: Sequence[str], layers: Sequence[str]) -> dict[str, float]:
    """The domain distance of each layer: the mean over the BatchNorm layers since the layer before it.

    Args:
        distances: of the trunk.
        blocks: names of all blocks, from the stem up.
        layers: names of those that are compared, from the stem up.
    """
    at: dict[int, list[float]] = {}
    for path, value in distances.layers.items():
        places = [row for row, name in enumerate(blocks) if f"{path}.".startswith(f"{name}.")]
        at.setdefault(places[0] if places else 0, []).append(value)
    found, before = {}, -1
    for layer in layers:
        place = blocks.index(layer)
        values = [value for row in range(before + 1, place + 1) for value in at.get(row, [])]
        found[layer] = float(np.mean(values)) if values else float("nan")
        before = place
    return found


def best(layers: Sequence[Layer]) -> Layer:
    """The layer of the highest validation AUROC, of equal ones the highest; the last where none has an AUROC."""
    return max(enumerate(layers), key=lambda item: (np.nan_to_num(item[1].figures["val_auroc"], nan=-1.0), item[0]))[1]


def logme(features: npt.NDArray[np.floating], targets: npt.NDArray[np.floating]) -> float:
    """The logarithm of the maximum evidence of a Bayesian linear regression of the targets, a unit and class.

    You et al. 2021, "LogME: practical assessment of pre-trained models for transfer learning" (ICML); alpha and beta by
    the fixed point of You et al. 2022 (JMLR 23:203). Classes one against the rest, as columns of 0 and 1.

    Args:
        features: (U, F).
        targets: (U, K).
    """
    values = features.astype(np.float64)
    left, singular, _ = np.linalg.svd(values, full_matrices=False)
    columns = targets.astype(np.float64)
    if columns.shape[1] == 1:  # both classes of a binary task
        columns = np.concatenate([1 - columns, columns], axis=1)
    return float(np.mean([_evidence(left, singular**2, column) for column in columns.T]))


def _evidence(left: Floats, spectrum: Floats, wanted: Floats) -> float:
    """For one column (U,), given the singular vectors (U, R) and squared singular values (R,) of the features."""
    count = len(wanted)
    along = (left.T @ wanted) ** 2
    beyond = max(float(wanted @ wanted - along.sum()), 0.0)  # of the targets what no weights can give
    ratio, alpha = 1.0, 1.0  # ratio = alpha / beta
    for _ in range(_LOGME_STEPS):
        effective = float((spectrum / (spectrum + ratio)).sum())
        weights = float((spectrum * along / (spectrum + ratio) ** 2).sum())
        residual = float((along / (1 + spectrum / ratio) ** 2).sum()) + beyond
        alpha = effective / (weights + _TINY)
        # With no more units than features the noise may vanish, and the ratio with it.
        before, ratio = ratio, max(alpha * (residual + _TINY) / max(count - effective, _TINY), _TINY)
        if abs(ratio - before) <= 1e-6 * before:
            break
    return log_evidence(alpha, alpha / ratio, spectrum, along, beyond, count)


def log_evidence(alpha: float, beta: float, spectrum: Floats, along: Floats, beyond: float, count: int) -> float:
    """A unit; weights have the prior N(0, 1 / alpha), noise has the precision beta (Bishop 2006, eq. 3.86)."""
    ratio = alpha / beta
    weights = float((spectrum * along / (spectrum + ratio) ** 2).sum())
    residual = float((along / (1 + spectrum / ratio) ** 2).sum()) + beyond
    total = (
        len(spectrum) / 2 * np.log(alpha)
        + count / 2 * np.log(beta)
        - np.log(alpha + beta * spectrum).sum() / 2
        - beta / 2 * residual
        - alpha / 2 * weights
        - count / 2 * np.log(2 * np.pi)
    )
    return float(total / count)
