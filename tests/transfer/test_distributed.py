"""Two processes train as one does; their errors arrive as they were raised."""

from __future__ import annotations

import json
import os
import socket
from contextlib import suppress
from pathlib import Path
from types import SimpleNamespace

import ignite.distributed as idist
import pytest
import torch
from torch import nn

from pipeline.errors import ConfigError, TrainingError
from pipeline.transfer.distributed import launch, same_buffers
from pipeline.transfer.train import Training
from tests.transfer.small_project import Blobs, small_project, trained

TORCHRUN = ["-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]


def _fail(word: str) -> None:
    raise TrainingError(word, "that", "Do this.")


def test_an_error_in_a_process_is_the_callers() -> None:
    with pytest.raises(TrainingError, match=r"expected something; found that\. Do this\."):
        launch(_fail, 2, "something")


def _fail_in_the_second(folder: Path) -> None:
    if idist.get_rank() == 1:
        raise TrainingError("a second that goes on", f"process {idist.get_rank()}", "Do this.")
    (folder / "waits").touch()
    idist.barrier()
    (folder / "went on").touch()


def test_an_error_in_one_process_ends_the_other_that_waits_for_it(tmp_path: Path) -> None:
    with pytest.raises(TrainingError, match="found process 1"):
        launch(_fail_in_the_second, 2, tmp_path)
    assert not (tmp_path / "went on").exists()


def test_a_port_that_is_taken_is_in_nobodys_way(tmp_path: Path) -> None:
    """Two trainings of one machine, each of several processes, do not meet: ignite's own port would be 2222."""
    with socket.socket() as taken:
        with suppress(OSError):  # by another already
            taken.bind(("127.0.0.1", 2222))
            taken.listen()
        launch(_share, 2, tmp_path)
    assert len(list(tmp_path.glob("*.json"))) == 2


def _resumes_elsewhere() -> None:
    rank = idist.get_rank()
    Training._require_one_place(SimpleNamespace(device=idist.device()), [1, 3])  # type: ignore[arg-type]
    Training._require_one_place(SimpleNamespace(device=idist.device()), [1, 3 - rank])  # type: ignore[arg-type]


def test_processes_that_find_other_checkpoints_do_not_wait_for_each_other() -> None:
    """As on machines whose cache is a folder of each."""
    with pytest.raises(ConfigError, match=r"one checkpoint for all processes; found .* 1 3, 1 2\. Name a cache_dir"):
        launch(_resumes_elsewhere, 2)


def _share(folder: Path) -> None:
    rank = idist.get_rank()
    module = nn.BatchNorm1d(2)
    module(torch.full((4, 2), 10.0 * rank))
    same_buffers(module)
    found = [torch.get_num_threads(), module.running_mean.tolist(), int(module.num_batches_tracked)]
    (folder / f"{rank}.json").write_text(json.dumps(found))


def test_processes_share_the_cores_and_the_statistics_of_the_first(tmp_path: Path) -> None:
    launch(_share, 2, tmp_path)
    first, second = (json.loads((tmp_path / f"{rank}.json").read_text()) for rank in range(2))
    assert first == second
    assert first[0] == max(1, torch.get_num_threads() // 2)
    assert first[1] == [0.0, 0.0]


def test_one_process_is_this_one() -> None:
    pids: list[int] = []
    launch(lambda: pids.append(os.getpid()), 1)
    assert pids == [os.getpid()]


def test_two_processes_learn_what_one_does(tmp_path: Path, blobs: Blobs, backbone_folder: Path) -> None:
    """Within the noise of another order of units: both processes see their own half in an order of its own."""
    one = trained(small_project(tmp_path / "one", blobs, backbone_folder))
    two = trained(small_project(tmp_path / "two", blobs, backbone_folder), *TORCHRUN)
    for alone, together in zip(one, two, strict=True):
        assert [alone[key] for key in ("phase", "epoch", "slices", "passes")] == [
            together[key] for key in ("phase", "epoch", "slices", "passes")
        ]
        assert float(together["val_auroc"]) == pytest.approx(float(alone["val_auroc"]), abs=0.05)
        if alone["train_loss"]:
            assert float(together["train_loss"]) == pytest.approx(float(alone["train_loss"]), abs=0.1)
