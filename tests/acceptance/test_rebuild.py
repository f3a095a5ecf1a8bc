"""A release of the whole pipeline, built again from its tag."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.acceptance.conftest import Project

pytestmark = pytest.mark.acceptance

TAG = "mri-transfer-demo@v0.1.0"


def test_release_comes_out_the_same_again(built: Project, tmp_path: Path) -> None:
    project = built.copy(tmp_path)
    project.run("git", "add", "--all")
    project.run("git", "-c", "commit.gpgsign=false", "commit", "--quiet", "--message", "A run")
    project.run("git", "tag", "--annotate", "--message", "A release", TAG)
    said = project.run("python", "-m", "flows.rebuild", TAG)
    assert f"rebuild: {TAG} is the same again" in said
    assert [line for line in said.splitlines() if line.endswith(": the same")] == [
        f"{what}: the same" for what in ("split", "weights", "calibration and threshold", "graph")
    ]
    assert project.run("git", "status", "--porcelain") == ""
