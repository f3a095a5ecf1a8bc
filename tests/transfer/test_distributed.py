"""Two processes train as one does; their errors arrive as they were raised."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import ignite.distributed as idist
import numpy as np
import pytest
import torch
import yaml
from torch import nn

from pipeline.errors import TrainingError
from pipeline.files import read_csv, write_csv
from pipeline.transfer.distributed import launch, same_buffers

Blobs = tuple[np.ndarray, list[dict[str, str]]]
ROOT = Path(__file__).resolve().parents[2]
PHASES = [
    {"name": "head", "trunk": 0.0, "epochs": 2, "learning_rate": 5e-3},
    {"name": "top", "trunk": 0.5, "epochs": 3, "learning_rate": 1e-3},
]
STAGE = ["-m", "pipeline.stages.finetune"]


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


def _trained(folder: Path, blobs: Blobs, backbone: Path, command: list[str]) -> list[dict[str, str]]:
    """The history of the stage `finetune`, run as a program in a folder of its own."""
    params = yaml.safe_load((ROOT / "params.yaml").read_text())
    small = {
        "phases": PHASES,
        "batch_slices": 48,
        "slices_per_unit": 4,
        "least_steps": 1,
        "precision": "fp32",
        "augment": None,
        "dropout": 0.0,
    }
    params["finetune"] |= small
    params["prepare"]["size"], params["cache_dir"] = 32, str(folder / "cache")
    (folder / "models").mkdir(parents=True)
    (folder / "models/backbone").symlink_to(backbone)
    (folder / "params.yaml").write_text(yaml.safe_dump(params))
    write_csv(folder / "data/prepared/slices.csv", blobs[1][0], blobs[1])
    np.save(folder / "data/prepared/slices.npy", blobs[0])
    environment = os.environ | {"OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT)}
    done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert not list((folder / "cache").rglob("*.npy"))
    return read_csv(folder / "models/finetuned/history.csv")


def test_two_processes_learn_what_one_does(tmp_path: Path, blobs: Blobs, backbone_folder: Path) -> None:
    """Within the noise of another order of units: both processes see their own half in an order of its own."""
    torchrun = ["-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2", *STAGE]
    one = _trained(tmp_path / "one", blobs, backbone_folder, [sys.executable, *STAGE])
    two = _trained(tmp_path / "two", blobs, backbone_folder, [sys.executable, *torchrun])
    for alone, together in zip(one, two, strict=True):
        assert [alone[key] for key in ("phase", "epoch", "slices", "passes")] == [
            together[key] for key in ("phase", "epoch", "slices", "passes")
        ]
        assert float(together["val_auroc"]) == pytest.approx(float(alone["val_auroc"]), abs=0.05)
        if alone["train_loss"]:
            assert float(together["train_loss"]) == pytest.approx(float(alone["train_loss"]), abs=0.1)
