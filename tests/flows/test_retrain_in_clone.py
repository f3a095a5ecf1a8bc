"""The flow `retrain` in a clone: what it leaves in the repository's branch and tags."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path

import pytest
from prefect.client.orchestration import SyncPrefectClient

from flows.workspace import LEDGER, RUNS
from pipeline.clinical import ledger
from tests.flows import runs, versioned
from tests.flows.conftest import STEP
from tests.waiting import within

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
CACHE = re.compile(r"^cache_dir:.*$", re.MULTILINE)
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
    assert "found changed: params.yaml. Commit or stash them, or name a revision." in _message(client)
    assert "stages" not in runs.artifacts(client, runs.last(client))


def test_revision_that_is_not_there_is_named(
    project: versioned.Project, retrain: Retrain, client: SyncPrefectClient
) -> None:
    assert retrain(revision="no-such") != 0
    assert "found 'no-such'" in _message(client)


def _message(client: SyncPrefectClient) -> str:
    """What the state of the last run says."""
    state = client.read_flow_run(runs.last(client)).state
    assert state is not None
    return str(state.message)


def _openings(project: versioned.Project) -> int:
    """Looks at the test set that the branch knows of."""
    return len(project("git", "show", "main:reports/ledger.csv").splitlines()) - 1


def test_look_of_a_validation_that_fails_is_committed_and_nothing_else(
    project: versioned.Project, retrain: Retrain
) -> None:
    project.write("validate.trouble", "look")
    project.commit("It fails")
    assert retrain() != 0
    assert _openings(project) == 1
    assert project("git", "show", "--name-only", "--format=", "main") == "reports/ledger.csv"


def test_look_of_a_killed_run_is_committed_by_one_that_fails_before_it_validates(
    project: versioned.Project, retrain: Retrain
) -> None:
    left = project.folder / RUNS / "run-killed" / LEDGER
    ledger.record(left, ledger.Key("split", "model", "calibration"), 20)
    project.write("prepare.trouble", "fail")
    project.commit("It fails")
    assert retrain() != 0
    assert _openings(project) == 1


def test_server_that_is_away_once_validation_has_ended_costs_no_commit(
    project: versioned.Project, prefect_environment: dict[str, str]
) -> None:
    away = """
import httpx
from flows import stages
bar = stages.update_progress_artifact

def update_progress_artifact(artifact, progress, description):
    if "validate" in description:
        raise httpx.ConnectError("away")
    bar(artifact, progress, description)

stages.update_progress_artifact = update_progress_artifact
"""
    retrain = "flows.retrain:retrain"
    assert runs.run(away + runs.PROGRAM, retrain, prefect_environment, repository=str(project.folder)) != 0
    assert '"auroc"' in project("git", "show", "main:reports/metrics.json")


def test_what_cannot_be_shown_is_committed_and_tagged(
    project: versioned.Project, retrain: Retrain, tmp_path: Path
) -> None:
    (tmp_path / "taken").write_text("a file where a folder should be")
    project.write(
        "params.yaml", CACHE.sub(f"cache_dir: {tmp_path}/taken", (project.folder / "params.yaml").read_text())
    )
    project.commit("No place for the report")
    assert retrain() != 0
    assert project("git", "tag").split() == ["mri-transfer-demo@v0.1.0"]


def test_remote_that_is_away_keeps_no_version_back_and_hides_no_error(
    project: versioned.Project, retrain: Retrain, client: SyncPrefectClient, tmp_path: Path
) -> None:
    (tmp_path / "store").write_text("a file where a folder should be")
    project("dvc", "remote", "add", "--local", "--default", "store", str(tmp_path / "store"))
    assert retrain() != 0
    assert "expected DVC's remote 'store' to take the data of" in _message(client)
    assert project("git", "tag").split() == ["mri-transfer-demo@v0.1.0"]
    project.write("release.trouble", "fail")
    project.change("seed: 20260901", "seed: 7")
    project.commit("It fails")
    assert retrain() != 0
    assert "expected stage release to end well" in _message(client)
    said = "After that: expected DVC's remote 'store' to take the data of"
    assert within(30, lambda: any(line.startswith(said) for line in runs.log(client, runs.last(client))))


def test_stages_of_a_clone_are_not_chosen(
    project: versioned.Project, retrain: Retrain, client: SyncPrefectClient
) -> None:
    assert retrain(stages=["validate"]) != 0
    assert "expected every stage of a run in a clone, which begins empty; found validate." in _message(client)


def test_folder_that_is_no_repository_is_said_to_be_none(
    prefect_environment: dict[str, str], client: SyncPrefectClient, tmp_path: Path
) -> None:
    nowhere = str(tmp_path / "nowhere")
    assert runs.call("flows.retrain:retrain", prefect_environment, repository=nowhere) != 0
    assert f"expected a repository of git and DVC in {nowhere}; found none." in _message(client)
