"""Units (slices, series, studies, patients) in batches, for training and for validation."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch

from pipeline.targets import Targets

#: Slices that go through a network at once where nothing is learnt, at most: a unit may have thousands.
AT_ONCE = 512


@dataclass(frozen=True)
class Bags:
    """What can be learnt from: an array with one row a slice, and the units that own the rows.

    Attributes:
        values: prepared slices, uint8 (N, H, W), or recorded activations, float (N, ...).
        rows: for each of U units, the indices of its rows.
        targets: float32 (U, K) of 0 and 1.
    """

    values: npt.NDArray[np.uint8] | npt.NDArray[np.floating]
    rows: list[npt.NDArray[np.int64]]
    targets: npt.NDArray[np.float32]

    def turns(self, batch_units: int, least_steps: int) -> Bags:
        """Every unit so many times over that about `least_steps` batches come of them; once at least."""
        times = max(1, round(least_steps * batch_units / len(self.rows)))
        return Bags(self.values, self.rows * times, np.tile(self.targets, (times, 1)))

    def shard(self, rank: int, world: int, seed: int) -> Bags:
        """The units of one of `world` processes, dealt at random; all get equally many, so one may be dealt twice."""
        if world == 1:
            return self
        dealt = np.random.default_rng([seed, world]).permutation(len(self.rows))
        chosen = np.resize(dealt, -(-len(dealt) // world) * world)[rank::world]
        return Bags(self.values, [self.rows[unit] for unit in chosen], self.targets[chosen])


@dataclass(frozen=True)
class Batch:
    """Rows of B units.

    Attributes:
        values: uint8 (N, H, W) slices, or activations (N, ...); on its device float32, slices as (N, 1, H, W) in 0..1.
        owner: int64 (N,), the place of each row's unit in `targets`.
        targets: float32 (B, K).
    """

    values: torch.Tensor
    owner: torch.Tensor
    targets: torch.Tensor

    def to(self, device: torch.device) -> Batch:
        """The same on `device`, as the network takes it; slices and maps channels-last."""
        values = self.values.to(device, non_blocking=True)
        values = values.unsqueeze(1).float() / 255 if values.dtype == torch.uint8 else values.float()
        if values.ndim == 4:
            values = values.contiguous(memory_format=torch.channels_last)
        return Batch(values, self.owner.to(device), self.targets.to(device))


def bags_of(
    values: npt.NDArray[np.uint8] | npt.NDArray[np.floating],
    index: Sequence[dict[str, str]],
    split: str,
    targets: Targets,
) -> Bags:
    """The units of one side of the split, in order of first appearance in `slices.csv`."""
    rows: dict[str, list[int]] = {}
    labels: dict[str, str] = {}
    for number, entry in enumerate(index):
        if entry["split"] == split:
            rows.setdefault(entry["unit"], []).append(number)
            labels[entry["unit"]] = entry["label"]
    return Bags(values, [np.array(found) for found in rows.values()], targets.encode(list(labels.values())))


def units_a_batch(bags: Bags, batch_slices: int, slices_per_unit: int | None = None) -> int:
    """Of how many units about `batch_slices` slices are; at least one, and no more than there are."""
    usual = float(np.mean([len(own) for own in bags.rows]))
    return max(1, min(len(bags.rows), round(batch_slices / min(usual, slices_per_unit or usual))))


class Loader:
    """Batches of units; a new order and draw each epoch in training, everything in order otherwise.

    Args:
        bags: what to draw from.
        batch_units: units a batch.
        seed: with `epoch`, decides draw and order; None: all rows, in order (validation).
        slices_per_unit: rows drawn from a unit each time it is seen; None: all of them.
        shuffle: whether the order changes, too.
    """

    def __init__(
        self,
        bags: Bags,
        batch_units: int,
        seed: Sequence[int] | None = None,
        slices_per_unit: int | None = None,
        *,
        shuffle: bool = True,
    ) -> None:
        self.bags, self.batch_units, self.seed = bags, batch_units, seed
        self.slices_per_unit, self.shuffle = slices_per_unit, shuffle
        self.epoch = 0

    def __len__(self) -> int:
        return len(self._starts())

    @property
    def slices(self) -> int:
        """Rows of one epoch."""
        most = self.slices_per_unit or np.inf
        return int(sum(min(len(own), most) for own in self.bags.rows))

    def __iter__(self) -> Iterator[Batch]:
        count = len(self.bags.rows)
        rng = np.random.default_rng([*self.seed, self.epoch]) if self.seed is not None else None
        order = rng.permutation(count) if rng is not None and self.shuffle else np.arange(count)
        starts = self._starts()
        for start, end in zip(starts, [*starts[1:], count], strict=True):
            yield self._batch(order[start:end], rng)

    def _starts(self) -> range:
        """Where batches begin; a last one of a single unit joins the one before, as BatchNorm learns nothing of it."""
        starts = range(0, len(self.bags.rows), self.batch_units)
        alone = self.batch_units > 1 and len(starts) > 1 and len(self.bags.rows) - starts[-1] == 1
        return starts[:-1] if alone and self.shuffle and self.seed is not None else starts

    def _batch(self, chosen: npt.NDArray[np.int64], rng: np.random.Generator | None) -> Batch:
        rows = [self.bags.rows[unit] for unit in chosen]
        if rng is not None and self.slices_per_unit is not None:
            wanted = self.slices_per_unit
            rows = [np.sort(rng.choice(own, wanted, replace=False)) if len(own) > wanted else own for own in rows]
        owner = np.repeat(np.arange(len(rows)), [len(own) for own in rows])
        values = torch.from_numpy(np.asarray(self.bags.values[np.concatenate(rows)]))
        return Batch(values, torch.from_numpy(owner), torch.from_numpy(self.bags.targets[chosen]))
