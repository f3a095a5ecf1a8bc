"""`make demo WEIGHTS=...`: which backbone is chosen; `python` and `dvc` only note here how they were called."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from pipeline import config, params

NOTE = '#!/bin/sh\nprintf "%s|" "${0##*/}" "$@" >> calls\necho >> calls\n'
DEFAULTS = ["backbone.options={}", "backbone.mean=null", "backbone.std=null"]
THEN = [["dvc", "repro"], ["python", "-m", "pipeline.summary"]]
Make = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture
def make(root: Path, tmp_path: Path, program: Callable[..., str]) -> Make:
    """`make` in a project whose `.venv` is newer than what it is installed from."""
    project = tmp_path / "project"
    (project / ".venv/bin").mkdir(parents=True)
    (project / "models/weights").mkdir(parents=True)
    shutil.copy(root / "Makefile", project)
    shutil.copy(root / "params.yaml", project)
    for name in ("pyproject.toml", "constraints.txt"):
        (project / name).touch()
        os.utime(project / name, (0, 0))
    (project / ".venv/installed").touch()
    for name in ("python", "dvc"):
        (project / ".venv/bin" / name).write_text(NOTE)
        (project / ".venv/bin" / name).chmod(0o755)

    def run(*words: str) -> subprocess.CompletedProcess[str]:
        command, environment = [program("make"), *words], {"PATH": os.environ["PATH"]}
        return subprocess.run(command, cwd=project, env=environment, capture_output=True, text=True, check=False)

    return run


def calls(tmp_path: Path) -> list[list[str]]:
    noted = tmp_path / "project/calls"
    return [line.split("|")[:-1] for line in noted.read_text().splitlines()] if noted.exists() else []


def test_the_demo_starts_from_the_embedded_backbone(make: Make, tmp_path: Path) -> None:
    assert make("demo").returncode == 0
    assert calls(tmp_path) == THEN


def test_the_demo_starts_from_the_release_of_another_project(make: Make, tmp_path: Path) -> None:
    release = tmp_path / "release"
    release.mkdir()
    (release / "manifest.json").touch()
    assert make("demo", f"WEIGHTS={release}").returncode == 0
    chosen = ["backbone.weights=file", f"backbone.file={release}", "backbone.name=null", *DEFAULTS]
    assert calls(tmp_path) == [["python", "-m", "pipeline.params", *chosen], *THEN]
    params.update(tmp_path / "project/params.yaml", chosen)
    backbone = config.load(tmp_path / "project/params.yaml").backbone
    assert (backbone.weights, backbone.file, backbone.name) == ("file", release, "")


def test_the_demo_starts_from_a_file_that_says_which_network_it_is_of(make: Make, tmp_path: Path) -> None:
    weights = tmp_path / "mobilenetv2_100.safetensors"
    weights.write_bytes(b"weights")
    assert make("demo", f"WEIGHTS={weights}").returncode == 0
    file = "models/weights/mobilenetv2_100.safetensors"
    chosen = ["backbone.weights=file", f"backbone.file={file}", "backbone.name=mobilenetv2_100", *DEFAULTS]
    assert calls(tmp_path) == [["python", "-m", "pipeline.params", *chosen], *THEN]
    assert (tmp_path / "project" / file).read_bytes() == b"weights"


def test_weights_that_are_not_there_are_an_error_and_nothing_runs(make: Make, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    for missing in (tmp_path / "nowhere.safetensors", tmp_path / "empty"):
        done = make("demo", f"WEIGHTS={missing}")
        assert done.returncode == 2
        assert f"found none at {missing}" in done.stderr
    assert calls(tmp_path) == []
