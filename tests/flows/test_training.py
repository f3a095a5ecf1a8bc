"""The flow `training`, run as a program against a real server."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest
from prefect.client.orchestration import SyncPrefectClient, get_client
from prefect.client.schemas.filters import (
    ArtifactFilter,
    ArtifactFilterFlowRunId,
    FlowRunFilter,
    FlowRunFilterDeploymentId,
    FlowRunFilterId,
)
from prefect.settings import PREFECT_API_URL, PREFECT_HOME, temporary_settings

pytestmark = pytest.mark.acceptance

#: Runs the flow without the minutes between two tries.
PROGRAM = """
import sys
from flows import training
training.run_stage = training.run_stage.with_options(retry_delay_seconds=0)
training.training(workspace=sys.argv[1], stages=sys.argv[2:] or None)
"""
Train = Callable[..., int]


@pytest.fixture
def client(prefect_environment: dict[str, str]) -> Iterator[SyncPrefectClient]:
    place = {
        PREFECT_API_URL: prefect_environment["PREFECT_API_URL"],
        PREFECT_HOME: prefect_environment["PREFECT_HOME"],
    }
    with temporary_settings(place), get_client(sync_client=True) as client:
        yield client


@pytest.fixture
def train(prefect_environment: dict[str, str], toy: Path) -> Train:
    """Runs the flow over the toy project and returns its exit status."""
    environment = prefect_environment | {"DVC_SITE_CACHE_DIR": str(toy.parent / "site")}

    def run(*stages: str) -> int:
        return subprocess.run(
            [sys.executable, "-c", PROGRAM, str(toy), *stages], env=environment, check=False
        ).returncode

    return run


def _last_run(client: SyncPrefectClient) -> UUID:
    """The newest run of this module: a deployment's runs, of other tests or scheduled meanwhile, are not looked at."""
    deployment = FlowRunFilterDeploymentId(is_null_=True)
    runs = client.read_flow_runs(flow_run_filter=FlowRunFilter(deployment_id=deployment))
    return max(runs, key=lambda run: run.created).id


def _assert_tasks(
    client: SyncPrefectClient, run: UUID, asked: tuple[str, str], expected: list[tuple[Any, Any]]
) -> None:
    """The two attributes of the run's tasks, by start. A server writes tasks down a moment after they ended."""
    deadline = time.monotonic() + 30
    found: list[tuple[Any, Any]] = []
    while found != expected and time.monotonic() < deadline:
        tasks = client.read_task_runs(flow_run_filter=FlowRunFilter(id=FlowRunFilterId(any_=[run])))
        started = sorted((task for task in tasks if task.start_time), key=lambda task: task.start_time)
        found = [(getattr(task, asked[0]), getattr(task, asked[1])) for task in started]
        time.sleep(0.2)
    assert found == expected


def test_every_stage_is_a_task_in_the_order_of_the_dag_and_the_headline_an_artifact(
    client: SyncPrefectClient, train: Train
) -> None:
    assert train() == 0
    run = _last_run(client)
    expected = [("demo", "Completed"), ("split", "Completed"), ("validate", "Completed")]
    _assert_tasks(client, run, ("name", "state_name"), expected)
    of_this_run = ArtifactFilter(flow_run_id=ArtifactFilterFlowRunId(any_=[run]))
    artifacts = client.read_artifacts(artifact_filter=of_this_run)
    assert [(artifact.type, artifact.key) for artifact in artifacts] == [("markdown", "training")]
    assert "| AUROC, fine-tuned | 0.900 (0.800 to 0.950) |" in artifacts[0].data


def test_failing_stage_fails_the_flow_with_its_own_message_and_nothing_after_it_runs(
    toy: Path, client: SyncPrefectClient, train: Train
) -> None:
    (toy / "split.trouble").write_text("fail")
    assert train() != 0
    run = _last_run(client)
    _assert_tasks(client, run, ("name", "state_name"), [("demo", "Completed"), ("split", "Failed")])
    state = client.read_flow_run(run).state
    assert state.is_failed()
    assert "stage split to end well; found SplitError: expected two sites; found one. Give another." in state.message
    assert (toy / "runs.txt").read_text().split() == ["demo", "split"]  # tried once: the error is not retryable


def test_stage_that_calls_its_error_retryable_is_tried_again_among_the_chosen_stages(
    toy: Path, client: SyncPrefectClient, train: Train
) -> None:
    (toy / "split.trouble").write_text("full")
    assert train("data/demo/dvc.yaml:demo", "split") == 0
    assert (toy / "runs.txt").read_text().split() == ["demo", "split", "split"]
    _assert_tasks(client, _last_run(client), ("name", "run_count"), [("demo", 1), ("split", 2)])


def test_scans_that_are_not_there_end_the_flow_before_any_stage(
    toy: Path, client: SyncPrefectClient, train: Train
) -> None:
    (toy / "params.yaml").write_text((toy / "params.yaml").read_text().replace("data/demo/dicom ", "/no/scans "))
    assert train() != 0
    state = client.read_flow_run(_last_run(client)).state
    assert state.is_failed()
    assert "data.dicom_dir in params.yaml to exist; found no /no/scans" in state.message
    assert not (toy / "runs.txt").exists()
