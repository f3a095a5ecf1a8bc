"""The flow `retrain` in a clone: what it leaves in the repository's branch and tags."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from prefect.client.orchestration import SyncPrefectClient

from tests.flows import runs, versioned
from tests.flows.conftest import STEP

pytestmark = pytest.mark.acceptance

DAG = """
stages:
  prepare: {cmd: exec python step.py prepare, deps: [step.py], params: [seed], outs: [prepare.txt]}
  validate:
    cmd: exec python step.py validate
    deps: [prepare.txt]
    params: [release.version]
    outs: [validate.txt]
    metrics: [reports/metrics.json: {cache: false}]
  release: {cmd: exec python step.py release, deps: [validate.txt], params: [release], outs: [release.txt]}
"""
Retrain = Callable[..., int]


@pytest.fixture
def project(root: Path, tmp_path: Path) -> versioned.Project:
    return versioned.make(root, tmp_path / "project", STEP, DAG)


@pytest.fixture
def retrain(prefect_environment: dict[str, str], project: versioned.Project) -> Retrain:
    """Runs the flow over the project and returns its exit status."""

    def run(**parameters: object) -> int:
        return runs.call("flows.retrain:retrain", prefect_environment, repository=str(project.folder), **parameters)

    return run


def _outcomes(client: SyncPrefectClient) -> list[str]:
    table = runs.artifacts(client, runs.last(client))["stages"][1]
    return [row["outcome"] for row in json.loads(table)]


def test_what_is_new_becomes_a_version_and_what_is_not_becomes_none(
    project: versioned.Project, retrain: Retrain, client: SyncPrefectClient
) -> None:
    assert retrain() == 0
    assert _outcomes(client) == ["ran", "ran", "ran"]
    assert project("git", "tag").split() == ["mri-transfer-demo@v0.1.0"]
    assert project("git", "log", "-1", "--format=%s", "main").startswith("Retrained by the run ")
    assert project("git", "status", "--porcelain", "--untracked-files=no") == ""
    before = project("git", "rev-parse", "main")

    assert retrain() == 0
    assert _outcomes(client) == ["restored from DVC's cache"] * 3
    assert project("git", "rev-parse", "main") == before

    project.change("seed: 20260901", "seed: 7")
    project.commit("Another seed")
    assert retrain() == 0
    assert project("git", "tag").split() == ["mri-transfer-demo@v0.1.0", "mri-transfer-demo@v0.2.0"]
    assert "version: 0.2.0" in project("git", "show", "mri-transfer-demo@v0.2.0:params.yaml")


def test_model_that_is_not_released_leaves_its_figures_on_the_branch_and_no_tag(
    project: versioned.Project, retrain: Retrain
) -> None:
    project.write("release.trouble", "fail")
    project.commit("It fails")
    assert retrain() != 0
    assert project("git", "tag") == ""
    assert '"auroc"' in project("git", "show", "main:reports/metrics.json")
    # The next run goes on from what that one did, in another clone.
    (project.folder / "release.trouble").unlink()
    project.commit("Mended")
    assert retrain() == 0
    assert project("git", "tag").split() == ["mri-transfer-demo@v0.1.0"]


def test_changes_that_are_not_committed_end_the_run_before_any_stage(
    project: versioned.Project, retrain: Retrain, client: SyncPrefectClient
) -> None:
    project.change("seed: 20260901", "seed: 7")
    assert retrain() != 0
    state = client.read_flow_run(runs.last(client)).state
    assert state is not None
    assert "found changed: params.yaml. Commit or stash them, or name a revision." in str(state.message)
    assert "stages" not in runs.artifacts(client, runs.last(client))


def test_revision_that_is_not_there_is_named(
    project: versioned.Project, retrain: Retrain, client: SyncPrefectClient
) -> None:
    assert retrain(revision="no-such") != 0
    state = client.read_flow_run(runs.last(client)).state
    assert state is not None
    assert "found 'no-such'" in str(state.message)
