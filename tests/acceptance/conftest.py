"""A clone of this checkout with parameters that a minute suffices for, and DVC in it."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

#: Before a command: leaves it no network at all, not even loopback.
CUT = ["unshare", "--net"] if os.geteuid() == 0 else ["unshare", "--map-root-user", "--net"]

#: Small in everything but in kind: every stage does all of its work.
SMALL = [
    "demo.patients=24",
    "demo.slices=8",
    "demo.matrix=64",
    "demo.lesion_volume_ml=[6.0, 12.0]",
    "demo.lesion_contrast=[0.9, 1.0]",
    "prepare.size=64",
    "features.probe_c=[0.1]",
    "finetune.phases.0.epochs=2",
    "finetune.phases.1.epochs=1",
    "finetune.least_steps=1",
    "validate.bootstrap=200",
    # What an untrained network can meet: its figures are defined.
    (
        "accept=[{metric: finetuned.auroc.value, min: 0.0}, {metric: calibration.brier.value, max: 1.0}, "
        "{metric: transfer.verdict, not_equal: negative, waiver: {by: a test, reason: hardly trained}}]"
    ),
    # So few patients are ranked otherwise by any rounding.
    "export.precision.auroc_change=1.0",
    "export.precision.band=1.0",
    "compile.compute_capabilities=['8.6']",
]


class Project:
    """A clone and the commands that its user types there."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        # Python may leave its compiled files beside the sources, as it does for everybody.
        inherited = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
        self.environment = {
            **inherited,
            "PATH": os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]]),
            "DVC_SITE_CACHE_DIR": str(folder.parent / "site"),
            "XDG_CACHE_HOME": str(folder.parent / "cache"),
            # The shell of a bare machine; DVC starts stages through it.
            "SHELL": "/bin/sh",
            "DVC_NO_ANALYTICS": "1",
        }

    def start(self, *command: str, log: Path) -> subprocess.Popen[bytes]:
        """A command whose output goes to `log`."""
        with open(log, "wb") as out:
            return subprocess.Popen(
                command, cwd=self.folder, env=self.environment, stdout=out, stderr=subprocess.STDOUT
            )

    def run(self, *command: str, status: int = 0) -> str:
        """What a command says on both streams; its exit status must be `status`."""
        done = subprocess.run(
            command,
            cwd=self.folder,
            env=self.environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            check=False,
        )
        assert done.returncode == status, done.stdout
        return done.stdout

    def set(self, *assignments: str) -> None:
        """Values in its params.yaml."""
        self.run("python", "-m", "pipeline.params", *assignments)

    def copy(self, folder: Path) -> Project:
        """The same with everything that was made in it, elsewhere."""
        shutil.copytree(self.folder, folder / "project")
        return Project(folder / "project")


def clone_of(root: Path, folder: Path) -> Path:
    """What a `git clone` of the working tree as it is would give."""
    listed = subprocess.run(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
        cwd=root,
        capture_output=True,
        check=True,
    )
    for name in listed.stdout.decode().split("\0"):
        if name and (root / name).is_file():
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(root / name, folder / name)
    author = [["config", f"user.{key}", value] for key, value in (("name", "test"), ("email", "test@example.org"))]
    unsigned = ["-c", "commit.gpgsign=false", "commit", "--quiet", "--message", "A clone"]
    for command in (["init", "--quiet"], *author, ["add", "--all"], unsigned):
        subprocess.run(["git", *command], cwd=folder, check=True)
    return folder


@pytest.fixture(scope="package")
def clone(root: Path, tmp_path_factory: pytest.TempPathFactory) -> Project:
    """A fresh clone with small parameters; nothing has run in it."""
    folder = tmp_path_factory.mktemp("clone")
    (folder / "project").mkdir()
    project = Project(clone_of(root, folder / "project"))
    project.set(*SMALL)
    return project


@pytest.fixture(scope="package")
def cut() -> list[str]:
    """`CUT`, or nothing where this user may not or there is no such program."""
    allowed = shutil.which(CUT[0]) and subprocess.run([*CUT, "true"], check=False, capture_output=True).returncode == 0
    return CUT if allowed else []


@pytest.fixture(scope="package")
def built(clone: Project, cut: list[str]) -> Project:
    """The clone after `dvc repro` without a network."""
    clone.run(*cut, "dvc", "repro")
    return clone
