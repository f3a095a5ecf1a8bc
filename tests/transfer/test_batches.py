"""Units in batches."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from pipeline.targets import Targets
from pipeline.transfer.batches import Bags, Loader, bags_of, units_a_batch

Blobs = tuple[np.ndarray, list[dict[str, str]]]


@pytest.fixture
def bags(blobs: Blobs) -> Bags:
    return bags_of(*blobs, "train", Targets("binary", ("0", "1")))


def test_training_draws_anew_each_epoch_and_validation_takes_all(bags: Bags) -> None:
    loader = Loader(bags, 8, (1, 0), 2)
    first = [batch.values for batch in loader]
    again = [batch.values for batch in loader]
    loader.epoch = 1
    other = [batch.values for batch in loader]
    assert all(torch.equal(a, b) for a, b in zip(first, again, strict=True))
    assert not all(torch.equal(a, b) for a, b in zip(first, other, strict=True))
    assert sum(map(len, first)) == loader.slices == 2 * len(bags.rows)
    whole = list(Loader(bags, 8))
    assert sum(len(batch.values) for batch in whole) == 4 * len(bags.rows)
    assert torch.cat([batch.targets for batch in whole]).tolist() == bags.targets.tolist()


def test_without_shuffling_only_the_draw_changes(bags: Bags) -> None:
    loader = Loader(bags, 8, (1, 0), 2, shuffle=False)
    targets = [batch.targets.tolist() for batch in loader]
    values = torch.cat([batch.values for batch in loader])
    loader.epoch = 1
    assert [batch.targets.tolist() for batch in loader] == targets
    assert not torch.equal(torch.cat([batch.values for batch in loader]), values)


def test_a_batch_on_its_device_is_what_the_network_takes(bags: Bags) -> None:
    batch = next(iter(Loader(bags, 3)))
    on = batch.to(torch.device("cpu"))
    assert on.values.shape == (12, 1, 32, 32)
    assert torch.equal(on.values[:, 0] * 255, batch.values.float())
    assert on.owner.tolist() == [0] * 4 + [1] * 4 + [2] * 4


def test_batches_hold_about_the_slices_asked_for(bags: Bags) -> None:
    assert units_a_batch(bags, 24, 3) == 8
    assert units_a_batch(bags, 24) == 6
    assert units_a_batch(bags, 1) == 1


@pytest.mark.parametrize("world", [1, 2, 5, 7])
def test_processes_share_the_units_and_have_equally_many(bags: Bags, world: int) -> None:
    shards = [bags.shard(rank, world, 3) for rank in range(world)]
    assert {len(shard.rows) for shard in shards} == {-(-len(bags.rows) // world)}
    seen = {tuple(rows) for shard in shards for rows in shard.rows}
    assert seen == {tuple(rows) for rows in bags.rows}
