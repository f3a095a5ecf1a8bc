"""Experiments of DVC, in the workspace and in copies, all write to the one ledger of their project."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.acceptance

STAGE = """
from pathlib import Path
import yaml
from pipeline.clinical import ledger

model = yaml.safe_load(Path("params.yaml").read_text())["model"]
place = ledger.place(Path(), Path("reports/ledger.csv"))
count = ledger.record(place, ledger.Key("split", f"model {model}", "calibration"), 20)
Path("metrics.json").write_text(f'{{"opened": {count.opened}}}')
"""
DAG = """
stages:
  look:
    cmd: python look.py
    deps: [look.py]
    params: [model]
    metrics: [metrics.json: {cache: false}]
"""


@pytest.fixture
def project(root: Path, tmp_path: Path) -> Path:
    """A project of one stage, which opens the test set."""
    folder = tmp_path / "project"
    (folder / "reports").mkdir(parents=True)
    for name, text in (("look.py", STAGE), ("dvc.yaml", DAG), ("params.yaml", "model: 1\n")):
        (folder / name).write_text(text)
    for name in ("reports/ledger.csv", ".gitattributes"):
        shutil.copy(root / name, folder / name)
    (folder / "reports/ledger.csv").write_text((root / "reports/ledger.csv").read_text().splitlines()[0] + "\n")
    author = [["config", f"user.{key}", value] for key, value in (("name", "test"), ("email", "test@example.org"))]
    for command in (["git", "init", "-q"], *(["git", *each] for each in author), ["dvc", "init", "-q"]):
        run(root, folder, *command)
    run(root, folder, "git", "add", "--all")
    run(root, folder, "git", "-c", "commit.gpgsign=false", "commit", "-q", "-m", "one")
    return folder


def run(root: Path, folder: Path, *command: str) -> None:
    path = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])
    environment = {**os.environ, "PATH": path, "PYTHONPATH": str(root), "DVC_NO_ANALYTICS": "1", "SHELL": "/bin/sh"}
    environment["DVC_SITE_CACHE_DIR"] = str(folder.parent / "site")
    done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


def test_every_experiment_is_counted_once(root: Path, project: Path) -> None:
    ledger = project / "reports/ledger.csv"

    def openings() -> int:
        return len(ledger.read_text().splitlines()) - 1

    run(root, project, "dvc", "repro")
    assert openings() == 1
    run(root, project, "dvc", "repro", "--force")
    assert openings() == 1
    run(root, project, "dvc", "exp", "run", "-S", "model=2")
    assert openings() == 2
    run(root, project, "dvc", "exp", "run", "--temp", "-S", "model=3")
    assert openings() == 3
    run(root, project, "dvc", "exp", "run", "--temp", "--force", "-S", "model=3")
    assert openings() == 3
