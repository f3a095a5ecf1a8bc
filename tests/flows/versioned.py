"""A project in git and DVC with two quick stages, and the commands that its owner types there."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

#: As the product's stages do: an artefact for DVC, figures for git, a line in the ledger.
STEP = """
import json, sys
from pathlib import Path
import yaml

seed = yaml.safe_load(Path("params.yaml").read_text())["seed"]
Path("models/release").mkdir(parents=True, exist_ok=True)
Path("models/release/model.onnx").write_text(f"weights {seed}")
Path("reports/metrics.json").write_text(json.dumps({"seed": seed}))
with Path("runs.txt").open("a") as runs:
    runs.write("release\\n")
"""
DAG = """
stages:
  release:
    cmd: exec python step.py
    deps: [step.py]
    params: [seed]
    outs: [models/release]
    metrics: [reports/metrics.json: {cache: false}]
"""
IGNORED = "/models\n/runs.txt\n/cache\n/secret\n"


class Project:
    """A checkout whose cache and remote lie beside it."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.cache = folder.parent / "cache"

    def __call__(self, *command: str) -> str:
        """What a command prints; it must end well."""
        path = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])
        environment = {**os.environ, "PATH": path, "DVC_NO_ANALYTICS": "1"}
        done = subprocess.run(command, cwd=self.folder, env=environment, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout.strip()

    def write(self, name: str, text: str) -> None:
        """A file."""
        path = self.folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)

    def change(self, old: str, new: str) -> None:
        """A value in params.yaml."""
        self.write("params.yaml", (self.folder / "params.yaml").read_text().replace(old, new))

    def commit(self, message: str = "A change") -> str:
        """Everything that git would take."""
        self("git", "add", "--all")
        self("git", "-c", "commit.gpgsign=false", "commit", "--quiet", "--message", message)
        return self("git", "rev-parse", "HEAD")


def make(root: Path, folder: Path, step: str = STEP, dag: str = DAG) -> Project:
    """The project, with its first commit."""
    folder.mkdir(parents=True)
    project = Project(folder)
    project("git", "init", "--quiet", "--initial-branch", "main")
    for key, value in (("user.name", "A test"), ("user.email", "test@example.org"), ("commit.gpgsign", "false")):
        project("git", "config", key, value)
    shutil.copytree(root / ".dvc", folder / ".dvc", ignore=shutil.ignore_patterns("tmp", "cache", "config.local"))
    header = (root / "reports/ledger.csv").read_text().splitlines()[0]
    for name, text in {
        "step.py": step,
        "dvc.yaml": dag,
        "params.yaml": (root / "params.yaml").read_text(),
        "reports/ledger.csv": f"{header}\n",
        "models/weights/.gitignore": "*\n!.gitignore\n",
        ".gitignore": IGNORED,
        ".gitattributes": (root / ".gitattributes").read_text(),
        "data/withdrawn.csv": "patient\n",
    }.items():
        project.write(name, text)
    project("git", "add", "--force", "models/weights/.gitignore")
    project.commit("The project")
    return project
