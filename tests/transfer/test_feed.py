"""What a phase trains on, of slices and of recordings, in one process and in several."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from pipeline.errors import TrainingError
from pipeline.training_config import Finetune, Phase
from pipeline.transfer import feed, steps
from pipeline.transfer.batches import Bags, Batch, Loader
from pipeline.transfer.checkpoint import Progress
from pipeline.transfer.feed import Feed, Feeder, Replay
from pipeline.transfer.model import from_backbone
from pipeline.transfer.objective import Objective
from pipeline.transfer.recordings import Recording
from tests.transfer.test_train import settings

TOP = Phase(name="top", trunk="layer2", epochs=4, learning_rate=1e-3)


def uneven(units: int = 30) -> Bags:
    """Units of very different numbers of slices."""
    counts = [1 + 23 * (unit % 7 == 0) for unit in range(units)]
    ends = np.cumsum(counts)
    rows = [np.arange(end - count, end) for end, count in zip(ends, counts, strict=True)]
    values = np.random.default_rng(0).integers(0, 255, (int(ends[-1]), 32, 32)).astype(np.uint8)
    return Bags(values, rows, np.arange(units, dtype=np.float32)[:, None] % 2)


Process = Callable[[int, int], None]


@pytest.fixture
def process(monkeypatch: pytest.MonkeyPatch) -> Process:
    """Makes this one process of several."""

    def of(rank: int, world: int) -> None:
        monkeypatch.setattr(feed.idist, "get_rank", lambda: rank)
        monkeypatch.setattr(feed.idist, "get_world_size", lambda: world)

    return of


def fed(backbone: Path, folder: Path, phase: Phase = TOP, **changes: object) -> Feed:
    model = from_backbone(backbone, 32, 0.0, pretrained=True)
    units = uneven()
    return Feeder(model, settings(**changes), units, units, folder, 3).phase(0, phase, model.freeze(phase.trunk))


@pytest.mark.parametrize("megabytes", [0.0, 0.9, 2.4, 8.0])
def test_processes_take_equally_many_steps_on_equally_many_draws(
    tmp_path: Path, backbone_folder: Path, process: Process, megabytes: float
) -> None:
    """Else one would wait for the other for ever; whatever units each was dealt."""
    found = []
    for rank in range(3):
        process(rank, 3)
        own = fed(
            backbone_folder,
            tmp_path / str(rank),
            slices_per_unit=24,
            batch_slices=40,
            recordings={"copies": 4, "gigabytes": megabytes / 1000},
        )
        found.append((len(own.train), own.copies, len(list(own.train))))
    assert len(set(found)) == 1
    assert found[0][0] == found[0][2]


@pytest.mark.parametrize("phase", [TOP, Phase(name="all", trunk=1.0, epochs=1, learning_rate=1e-3)])
def test_of_few_units_an_epoch_is_several_turns(
    tmp_path: Path, backbone_folder: Path, process: Process, phase: Phase
) -> None:
    """30 units of 6 a batch are 5 steps: 12 are about two turns, 3 are passed anyway; so in each of 3 processes."""
    room = {"slices_per_unit": 1, "batch_slices": 6}
    process(0, 1)
    steps = {least: fed(backbone_folder, tmp_path / str(least), phase, least_steps=least, **room) for least in (3, 12)}
    assert [len(feed.train) for feed in steps.values()] == [5, 10]
    assert [feed.train.slices for feed in steps.values()] == [30, 60]
    assert len(steps[12].val.rows) == 30
    epoch = torch.cat([batch.targets for batch in steps[12].train])
    assert len(epoch) == 60
    assert epoch.sum() == 2 * uneven().targets.sum()
    process(2, 3)
    third = fed(backbone_folder, tmp_path / "third", phase, least_steps=12, **room)
    assert (len(third.train), third.train.slices) == (10, 20)
    process(3, 16)  # more than a batch has units: each takes one
    assert len(fed(backbone_folder, tmp_path / "many", phase, least_steps=12, **room).train) == 12


def test_a_batch_larger_than_the_data_is_the_data(tmp_path: Path, backbone_folder: Path) -> None:
    for least in (1, 3):
        train = fed(backbone_folder, tmp_path / str(least), least_steps=least, batch_slices=10_000).train
        assert (len(train), [len(batch.targets) for batch in train]) == (least, [30] * least)


@pytest.mark.parametrize("phase", [TOP, Phase(name="all", trunk=1.0, epochs=1, learning_rate=1e-3)])
def test_no_two_processes_draw_the_same_changes(
    tmp_path: Path, backbone_folder: Path, process: Process, phase: Phase, monkeypatch: pytest.MonkeyPatch
) -> None:
    seeds: list[set[int]] = []

    def noted(batch: Batch, on: Batch, _settings: Finetune, generator: torch.Generator) -> Batch:
        seeds[-1].add(generator.initial_seed())
        return on

    monkeypatch.setattr(feed, "augmented", noted)
    monkeypatch.setattr(steps, "augmented", noted)
    model, units = from_backbone(backbone_folder, 32, 0.0, pretrained=True), uneven()
    task = steps.Task(model, Objective("binary", None, 0.0), settings(), 3, torch.device("cpu"))
    for rank in range(2):
        process(rank, 2)
        own = Feeder(model, settings(), units, units, tmp_path / str(rank), 3).phase(
            0, phase, model.freeze(phase.trunk)
        )
        process(rank, 1)  # nobody is there to add gradients with
        monkeypatch.setattr(feed.idist, "get_rank", lambda rank=rank: rank)
        seeds.append(set())
        steps.Steps(task, phase, own, model.freeze(phase.trunk), Progress()).epoch(1)
    assert seeds[0]
    assert len(seeds[0]) == len(seeds[1])
    assert not seeds[0] & seeds[1]


def test_a_unit_is_changed_anew_at_each_turn(tmp_path: Path, backbone_folder: Path) -> None:
    feed = fed(backbone_folder, tmp_path, least_steps=10, batch_slices=30, slices_per_unit=1)
    assert isinstance(feed.train, Replay)
    drawn = feed.train.recording.draw(0)
    turns = [np.stack([drawn.values[rows[0]] for rows in drawn.rows[start::30]]) for start in (1, 2, 3)]
    assert all(len(turn) == 10 for turn in turns)
    assert all(len(np.unique(turn.reshape(10, -1), axis=0)) == 10 for turn in turns)


def test_the_room_for_recordings_is_that_of_all_processes(
    tmp_path: Path, backbone_folder: Path, process: Process
) -> None:
    process(0, 1)
    room = {"recordings": {"copies": 4, "gigabytes": 0.003}}
    alone = fed(backbone_folder, tmp_path / "one", **room).copies
    process(0, 4)
    assert 0 < fed(backbone_folder, tmp_path / "four", **room).copies < alone


def test_slices_that_are_to_be_mixed_are_not_recorded(tmp_path: Path, backbone_folder: Path) -> None:
    assert fed(backbone_folder, tmp_path, mixup={"alpha": 0.4, "at": "features"}).copies > 0
    assert fed(backbone_folder, tmp_path, mixup={"alpha": 0.4, "at": "slices"}).augmented


class Loud(nn.Module):
    """A frozen part whose outputs float16 does not hold."""

    def forward(self, slices: torch.Tensor) -> torch.Tensor:
        return slices.flatten(1) * 1e6


def test_outputs_too_large_to_be_stored_are_an_error(tmp_path: Path) -> None:
    loader = Loader(uneven(), 4, shuffle=False)
    device = torch.device("cpu")

    def recorded(prefix: nn.Module) -> Recording:
        return Recording(tmp_path, prefix, loader, lambda batch, *_: batch.to(device), "record", torch.float32)

    with pytest.raises(TrainingError, match=r"at most 65504.*recordings\.copies: 0"):
        recorded(Loud()).draw(0)
    assert not list(tmp_path.iterdir())
    kept = recorded(nn.Flatten()).draw(0)
    np.testing.assert_allclose(kept.values, uneven().values.reshape(len(kept.values), -1) / 255, atol=1e-3)


def test_a_last_batch_of_one_unit_joins_the_one_before() -> None:
    """Normalisation cannot learn from the one value that a map of 1 x 1 is."""
    units = uneven(9)
    one_slice = replace(units, rows=[own[:1] for own in units.rows])
    training = Loader(one_slice, 4, (1, 0), 1)
    assert [len(batch.targets) for batch in training] == [4, 5]
    assert len(training) == 2
    assert [len(batch.targets) for batch in Loader(one_slice, 4)] == [4, 4, 1]
    assert [len(batch.targets) for batch in Loader(one_slice, 10, (1, 0), 1)] == [9]
    assert [len(batch.targets) for batch in Loader(one_slice, 1, (1, 0), 1)] == [1] * 9
    assert sorted(torch.cat([batch.values for batch in training]).sum((1, 2)).tolist()) == sorted(
        one_slice.values[[own[0] for own in one_slice.rows]].sum((1, 2)).tolist()
    )
