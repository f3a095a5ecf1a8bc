"""prefect.yaml through a real server, work pool and worker."""

from __future__ import annotations

import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest
from prefect.client.orchestration import SyncPrefectClient
from prefect.client.schemas import State
from prefect.client.schemas.filters import LogFilter, LogFilterFlowRunId
from prefect.client.schemas.responses import DeploymentResponse
from prefect.client.schemas.schedules import CronSchedule
from prefect.states import Cancelling, Scheduled

from tests.waiting import within

pytestmark = pytest.mark.acceptance


@pytest.fixture(scope="module")
def api(prefect_environment: dict[str, str]) -> Iterator[SyncPrefectClient]:
    # Prefect's own client: it asks again when SQLite was busy (503), as the user interface and the worker do.
    with SyncPrefectClient(prefect_environment["PREFECT_API_URL"]) as client:
        yield client


@pytest.fixture(scope="module")
def deployment(
    root: Path,
    prefect_environment: dict[str, str],
    api: SyncPrefectClient,
    start_module: Callable[..., Any],
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[DeploymentResponse]:
    """`training` as `prefect deploy --all` leaves it, with a worker at work."""
    for command in (["work-pool", "create", "mri-training", "--type", "process"], ["--no-prompt", "deploy", "--all"]):
        done = subprocess.run(
            ["prefect", *command], cwd=root, env=prefect_environment, capture_output=True, text=True, timeout=60
        )
        assert done.returncode == 0, done.stdout + done.stderr
    folder = tmp_path_factory.mktemp("worker")
    worker = ["prefect", "worker", "start", "--pool", "mri-training", "--type", "process"]
    with start_module(worker, folder / "worker.log", cwd=folder, env=prefect_environment):
        yield api.read_deployment_by_name("training/training")


def test_deployment_runs_weekly_and_one_run_at_a_time(deployment: DeploymentResponse) -> None:
    schedules = [(schedule.slug, schedule.active, schedule.schedule) for schedule in deployment.schedules]
    assert schedules == [("weekly", True, CronSchedule(cron="0 2 * * 6", timezone="Etc/UTC"))]
    assert deployment.tags == ["training"]
    assert deployment.global_concurrency_limit is not None
    assert deployment.global_concurrency_limit.limit == 1
    assert deployment.concurrency_options is not None
    assert deployment.concurrency_options.collision_strategy == "ENQUEUE"


def test_run_completes_with_its_lines_in_the_log(
    api: SyncPrefectClient, deployment: DeploymentResponse, toy: Path
) -> None:
    run = _start(api, deployment, toy)
    assert within(60, lambda: _state(api, run).is_final()), _state(api, run)
    assert _state(api, run).is_completed(), _messages(api, run)
    lines = {"Running stage 'split':", "split counts patients", "validate counts patients"}
    assert within(60, lambda: lines <= set(_messages(api, run))), _messages(api, run)


def test_cancelled_run_leaves_no_child(api: SyncPrefectClient, deployment: DeploymentResponse, toy: Path) -> None:
    (toy / "split.trouble").write_text("sleep")
    run = _start(api, deployment, toy)
    # The line is there before the stage has ended: it never does.
    assert within(60, lambda: "split counts patients" in _messages(api, run)), _messages(api, run)
    stage = int((toy / "sleeping").read_text())
    api.set_flow_run_state(run, Cancelling(), force=True)
    assert within(60, lambda: _state(api, run).is_cancelled()), _state(api, run)
    assert within(
        60, lambda: not Path(f"/proc/{stage}/cmdline").exists() or not Path(f"/proc/{stage}/cmdline").read_bytes()
    )
    assert (toy / "runs.txt").read_text().split() == ["demo", "split"]


def _start(api: SyncPrefectClient, deployment: DeploymentResponse, toy: Path) -> UUID:
    parameters = {"workspace": str(toy)}
    return api.create_flow_run_from_deployment(deployment.id, parameters=parameters, state=Scheduled()).id


def _state(api: SyncPrefectClient, run: UUID) -> State[Any]:
    state = api.read_flow_run(run).state
    assert state is not None
    return state


def _messages(api: SyncPrefectClient, run: UUID) -> list[str]:
    return [entry.message for entry in api.read_logs(LogFilter(flow_run_id=LogFilterFlowRunId(any_=[run])))]
