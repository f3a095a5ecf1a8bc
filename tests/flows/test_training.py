"""The flow `training`, run as a program against a real server."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from uuid import UUID

import pytest
from prefect.client.orchestration import SyncPrefectClient, get_client
from prefect.client.schemas.filters import ArtifactFilter, ArtifactFilterKey, FlowRunFilter, FlowRunFilterId
from prefect.client.schemas.objects import TaskRun
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
    runs = client.read_flow_runs()
    return max(runs, key=lambda run: run.created).id


def _tasks(client: SyncPrefectClient, run: UUID) -> list[TaskRun]:
    tasks = client.read_task_runs(flow_run_filter=FlowRunFilter(id=FlowRunFilterId(any_=[run])))
    return sorted(tasks, key=lambda task: task.start_time)


def test_every_stage_is_a_task_in_the_order_of_the_dag_and_the_headline_an_artifact(
    client: SyncPrefectClient, train: Train
) -> None:
    assert train() == 0
    run = _last_run(client)
    assert [(task.name, task.state_name) for task in _tasks(client, run)] == [
        ("demo", "Completed"),
        ("split", "Completed"),
        ("validate", "Completed"),
    ]
    artifacts = client.read_artifacts(artifact_filter=ArtifactFilter(key=ArtifactFilterKey(any_=["training"])))
    assert [(artifact.type, artifact.flow_run_id) for artifact in artifacts] == [("markdown", run)]
    assert "| AUROC, fine-tuned | 0.900 (0.800 to 0.950) |" in artifacts[0].data


def test_failing_stage_fails_the_flow_with_its_own_message_and_nothing_after_it_runs(
    toy: Path, client: SyncPrefectClient, train: Train
) -> None:
    (toy / "split.trouble").write_text("fail")
    assert train() != 0
    run = _last_run(client)
    assert [(task.name, task.state_name) for task in _tasks(client, run)] == [
        ("demo", "Completed"),
        ("split", "Failed"),
    ]
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
    assert [task.run_count for task in _tasks(client, _last_run(client))] == [1, 2]
