"""Units (slices, series, studies, patients) in batches, for training and for validation."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch


@dataclass(frozen=True)
class Units:
    """What can be learnt from: an array with one row a slice, and the units that own the rows.

    Attributes:
        values: prepared slices, uint8 (N, H, W), or cached features, float32 (N, F).
        rows: for each unit, the indices of its rows.
        labels: (U,) of 0 and 1.
    """

    values: npt.NDArray[np.uint8] | npt.NDArray[np.float32]
    rows: list[npt.NDArray[np.int64]]
    labels: npt.NDArray[np.float32]


@dataclass(frozen=True)
class Batch:
    """Rows of several units.

    Attributes:
        values: float32 (N, 1, H, W) in 0..1, or (N, F).
        owner: int64 (N,), the place of each row's unit in `labels`.
        labels: float32 (B, 1).
    """

    values: torch.Tensor
    owner: torch.Tensor
    labels: torch.Tensor


def units_of(
    values: npt.NDArray[np.uint8] | npt.NDArray[np.float32], index: Sequence[dict[str, str]], split: str
) -> Units:
    """The units of one side of the split, in order of first appearance in `slices.csv`."""
    rows: dict[str, list[int]] = {}
    labels: dict[str, float] = {}
    for number, entry in enumerate(index):
        if entry["split"] == split:
            rows.setdefault(entry["unit"], []).append(number)
            labels[entry["unit"]] = float(entry["label"])
    return Units(values, [np.array(found) for found in rows.values()], np.array(list(labels.values()), np.float32))


class Loader:
    """Batches of units; a new order and draw each epoch in training, everything in order otherwise.

    Args:
        units: what to draw from.
        batch_slices: slices a batch, about; whole units, at least one.
        slices_per_unit: rows drawn from a unit each time it is seen; None: all of them.
        seed: with `epoch`, decides order and draw; None: no shuffling (validation).
    """

    def __init__(
        self, units: Units, batch_slices: int, slices_per_unit: int | None = None, seed: Sequence[int] | None = None
    ) -> None:
        self.units, self.slices_per_unit, self.seed = units, slices_per_unit, seed
        usual = float(np.mean([len(own) for own in units.rows]))
        self.batch_units = max(1, round(batch_slices / min(usual, slices_per_unit or usual)))
        self.epoch = 0

    def __len__(self) -> int:
        return max(1, -(-len(self.units.rows) // self.batch_units))

    def __iter__(self) -> Iterator[Batch]:
        count = len(self.units.rows)
        rng = np.random.default_rng([*self.seed, self.epoch]) if self.seed is not None else None
        order = rng.permutation(count) if rng is not None else np.arange(count)
        for start in range(0, count, self.batch_units):
            yield self._batch(order[start : start + self.batch_units], rng)

    def _batch(self, chosen: npt.NDArray[np.int64], rng: np.random.Generator | None) -> Batch:
        rows = [self.units.rows[unit] for unit in chosen]
        if rng is not None and self.slices_per_unit is not None:
            wanted = self.slices_per_unit
            rows = [np.sort(rng.choice(own, wanted, replace=False)) if len(own) > wanted else own for own in rows]
        owner = np.repeat(np.arange(len(rows)), [len(own) for own in rows])
        values = torch.from_numpy(np.asarray(self.units.values[np.concatenate(rows)]))
        if values.dtype == torch.uint8:
            values = values.unsqueeze(1).float() / 255
        return Batch(values, torch.from_numpy(owner), torch.from_numpy(self.units.labels[chosen])[:, None])


def pool(logits: torch.Tensor, owner: torch.Tensor, count: int) -> torch.Tensor:
    """Mean of the row logits (N, 1) of each unit: (count, 1)."""
    sums = logits.new_zeros(count, 1).index_add(0, owner, logits)
    return sums / torch.bincount(owner, minlength=count)[:, None]
