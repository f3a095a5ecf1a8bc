"""The stage `finetune` as a program, in a folder with a small network and slices that can be learnt."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import yaml

from pipeline.files import read_csv, write_csv

ROOT = Path(__file__).resolve().parents[2]
PHASES = [
    {"name": "head", "trunk": 0.0, "epochs": 2, "learning_rate": 5e-3},
    {"name": "top", "trunk": 0.5, "epochs": 3, "learning_rate": 1e-3},
]
SMALL = {
    "phases": PHASES,
    "batch_slices": 48,
    "slices_per_unit": 4,
    "least_steps": 1,
    "precision": "fp32",
    "augment": None,
    "dropout": 0.0,
}

Blobs = tuple[np.ndarray, list[dict[str, str]]]


def small_project(folder: Path, blobs: Blobs, backbone: Path, **changes: object) -> Path:
    """A folder in which the stage can run, with these settings of `finetune`."""
    params = yaml.safe_load((ROOT / "params.yaml").read_text())
    params["finetune"] |= SMALL | changes
    params["prepare"]["size"], params["cache_dir"] = 32, str(folder / "cache")
    (folder / "models").mkdir(parents=True)
    (folder / "models/backbone").symlink_to(backbone)
    (folder / "params.yaml").write_text(yaml.safe_dump(params))
    write_csv(folder / "data/prepared/slices.csv", blobs[1][0], blobs[1])
    np.save(folder / "data/prepared/slices.npy", blobs[0])
    return folder


def start(project: Path, log: Path, *launcher: str) -> subprocess.Popen[bytes]:
    """The stage, as the leader of a group of processes; what it says goes to `log`."""
    environment = os.environ | {"OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT)}
    command = [sys.executable, *launcher, "-m", "pipeline.stages.finetune"]
    with log.open("wb") as out:
        return subprocess.Popen(command, cwd=project, env=environment, stdout=out, stderr=out, start_new_session=True)


def trained(project: Path, *launcher: str) -> list[dict[str, str]]:
    """The history of a training that runs to its end."""
    log = project / "log"
    assert start(project, log, *launcher).wait() == 0, log.read_text()
    assert not list((project / "cache").rglob("*.npy"))
    return read_csv(project / "models/finetuned/history.csv")
