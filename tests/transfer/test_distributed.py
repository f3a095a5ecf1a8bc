"""Two processes train as one does; their errors arrive as they were raised."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import yaml

from pipeline.errors import TrainingError
from pipeline.files import read_csv, write_csv
from pipeline.transfer.distributed import launch

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
