"""prefect.yaml and automations.yaml through a real server, work pool and worker."""

from __future__ import annotations

import http.server
import json
import os
import signal
import subprocess
import sys
import threading
import urllib.request
from collections.abc import Iterator
from contextlib import ExitStack
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

import pytest
import yaml
from prefect.client.orchestration import SyncPrefectClient
from prefect.client.schemas import State
from prefect.client.schemas.actions import DeploymentScheduleCreate
from prefect.client.schemas.filters import (
    ArtifactFilter,
    ArtifactFilterFlowRunId,
    FlowRunFilter,
    FlowRunFilterDeploymentId,
    LogFilter,
    LogFilterFlowRunId,
)
from prefect.client.schemas.objects import FlowRun
from prefect.client.schemas.responses import DeploymentResponse
from prefect.client.schemas.schedules import CronSchedule, IntervalSchedule
from prefect.events import DeploymentEventTrigger
from prefect.states import Cancelling, Scheduled

from flows import monitoring
from tests import prefect_server
from tests.waiting import within

pytestmark = pytest.mark.acceptance


class Workers:
    """Starts workers; all have ended when the context is left."""

    def __init__(self, folder: Path, environment: dict[str, str]) -> None:
        self.folder, self.environment = folder, environment
        self.running = ExitStack()
        self.process: subprocess.Popen[bytes] = self.start()

    def start(self) -> subprocess.Popen[bytes]:
        self.process = self.running.enter_context(prefect_server.worker(self.folder, self.environment))
        return self.process


@pytest.fixture(scope="module")
def api(prefect_environment: dict[str, str]) -> Iterator[SyncPrefectClient]:
    # Prefect's own client: it asks again when SQLite was busy (503), as the user interface and the worker do.
    with SyncPrefectClient(prefect_environment["PREFECT_API_URL"]) as client:
        yield client


@pytest.fixture(scope="module")
def deployed(prefect_environment: dict[str, str], api: SyncPrefectClient) -> SyncPrefectClient:
    """The server after `python -m flows.deployment`; the tests' own schedules alone are at work."""
    prefect_server.deploy(prefect_environment)
    return api


@pytest.fixture(scope="module")
def workers(
    deployed: SyncPrefectClient,
    prefect_environment: dict[str, str],
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[Workers]:
    """A worker of the pool, and the means to start another."""
    workers = Workers(tmp_path_factory.mktemp("worker"), prefect_environment)
    with workers.running:
        yield workers


@pytest.fixture
def retrain(deployed: SyncPrefectClient, workers: Workers) -> DeploymentResponse:
    """The deployment `retrain`, with a worker at work."""
    return deployed.read_deployment_by_name("retrain/retrain")


def test_deployments_have_schedules_tags_and_limits(deployed: SyncPrefectClient) -> None:
    # Active as they are shipped; `prefect_server.deploy` switched them off.
    retrain = deployed.read_deployment_by_name("retrain/retrain")
    assert [(each.slug, each.active, each.schedule) for each in retrain.schedules] == [
        ("weekly", False, CronSchedule(cron="0 2 * * 6", timezone="Etc/UTC"))
    ]
    assert retrain.tags == ["training"]
    assert _limit(retrain) == (1, "ENQUEUE")
    ingest = deployed.read_deployment_by_name("ingest-new-studies/ingest-new-studies")
    assert [(each.slug, each.active, each.schedule.interval) for each in ingest.schedules] == [
        ("quarter-hourly", False, timedelta(minutes=15))
    ]
    assert _limit(ingest) == (1, "CANCEL_NEW")
    assert deployed.read_global_concurrency_limit_by_name("gpu").limit == 1


def test_parameters_are_a_typed_form(deployed: SyncPrefectClient) -> None:
    retrain = deployed.read_deployment_by_name("retrain/retrain")
    form = retrain.parameter_openapi_schema["properties"]
    assert form["promote"]["type"] == "boolean"
    assert form["repository"]["anyOf"][0] == {"format": "path", "type": "string"}
    assert form["timeout_minutes"]["anyOf"][0]["additionalProperties"] == {"type": "number", "exclusiveMinimum": 0}
    assert "put the new version into production" in form["promote"]["description"]
    with pytest.raises(Exception, match="is not of type 'boolean'"):
        deployed.create_flow_run_from_deployment(retrain.id, parameters={"promote": "perhaps"})


def test_deploying_again_changes_nothing_and_leaves_what_was_switched(
    root: Path, prefect_environment: dict[str, str], deployed: SyncPrefectClient
) -> None:
    before = {each.name: each for each in deployed.read_automations()}
    assert len(before) == len(deployed.read_automations()) == 4
    off = {"A run that never began has crashed", "Retrain when enough new patients are there"}
    for name in off:
        deployed.pause_automation(before[name].id)
    monitor = deployed.read_deployment_by_name("monitor/monitor")
    deployed.update_deployment_schedule(monitor.id, monitor.schedules[0].id, active=True)
    deployed.upsert_global_concurrency_limit_by_name("gpu", 2)
    try:
        _deploy(root, prefect_environment)
        assert {each.name: each.enabled for each in deployed.read_automations()} == {
            name: name not in off for name in before
        }
        # Of prefect.yaml this one is off, and the others, which `prefect_server.deploy` switched off, are on.
        assert [each.name for each in deployed.read_deployments() for own in each.schedules if own.active] == [
            "monitor"
        ]
        assert deployed.read_global_concurrency_limit_by_name("gpu").limit == 2
    finally:
        for automation in deployed.read_automations():
            deployed.resume_automation(automation.id)
        deployed.update_deployment_schedule(monitor.id, monitor.schedules[0].id, active=False)
        deployed.upsert_global_concurrency_limit_by_name("gpu", 1)


def test_server_that_is_not_there_refuses_or_is_of_another_version_is_named(
    root: Path, prefect_environment: dict[str, str]
) -> None:
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), OlderServer) as older:
        threading.Thread(target=older.serve_forever, daemon=True).start()
        there = f"http://127.0.0.1:{older.server_port}/api"
        said = _deploy(root, prefect_environment | {"PREFECT_API_URL": there}, status=1)
        assert f"at {there}; found 3.1.0. Install prefect==3.1.0 here, or 3." in said
        said = _deploy(root, prefect_environment | {"PREFECT_API_URL": f"{there}/locked"}, status=1)
        assert "found status 401. See that PREFECT_API_URL ends in" in said
        older.shutdown()
    said = _deploy(root, prefect_environment | {"PREFECT_API_URL": there}, status=1)
    assert f"expected a Prefect server at {there}; found no answer (ConnectError). Start one (`make prefect`)" in said


@pytest.mark.parametrize(
    ("event", "name"),
    [
        ("mri-transfer.study.complete", "ingest-new-studies/ingest-new-studies"),
        ("mri-transfer.patients.new", "retrain/retrain"),
    ],
)
def test_event_asks_for_a_run(
    deployed: SyncPrefectClient, prefect_environment: dict[str, str], event: str, name: str
) -> None:
    _assert_asks(deployed, prefect_environment, event, deployed.read_deployment_by_name(name))


def test_trigger_of_retrain_can_wait_for_drift_instead(
    root: Path, deployed: SyncPrefectClient, prefect_environment: dict[str, str]
) -> None:
    retrain = deployed.read_deployment_by_name("retrain/retrain")
    listed = yaml.safe_load((root / "prefect.yaml").read_text())["deployments"]
    [trigger] = next(each["triggers"] for each in listed if each["name"] == "retrain")
    waiting = DeploymentEventTrigger.model_validate(
        trigger | {"name": "Retrain on drift", "expect": [monitoring.EVENT]}
    )
    waiting.set_deployment_id(retrain.id)
    made = deployed.create_automation(waiting.as_automation())
    try:
        _assert_asks(deployed, prefect_environment, monitoring.EVENT, retrain)
    finally:
        deployed.delete_automation(made)


def _assert_asks(
    api: SyncPrefectClient, environment: dict[str, str], event: str, deployment: DeploymentResponse
) -> None:
    """No worker is there yet: the run, which would be of this checkout, never begins."""
    known = {run.id for run in _runs(api, deployment)}
    body = [
        {
            "event": event,
            "resource": {"prefect.resource.id": "pacs.example"},
            "occurred": datetime.now(UTC).isoformat(),
            "id": str(uuid4()),
        }
    ]
    request = urllib.request.Request(
        f"{environment['PREFECT_API_URL']}/events",
        data=json.dumps(body).encode(),
        headers={"Content-Type": "application/json"},
    )
    with urllib.request.urlopen(request, timeout=10) as answer:
        assert answer.status == 204
    assert within(120, lambda: len(_runs(api, deployment)) > len(known))
    [new] = [run for run in _runs(api, deployment) if run.id not in known]
    api.delete_flow_run(new.id)


def test_schedule_starts_a_run_that_completes_with_its_lines_and_artifacts(
    deployed: SyncPrefectClient, retrain: DeploymentResponse, toy: Path
) -> None:
    # Not too far from each other: the server plans what it finds to be still to come.
    schedule = IntervalSchedule(interval=timedelta(seconds=20), anchor_date=datetime.now(UTC))
    parameters = {"repository": str(toy), "in_place": True}
    [made] = deployed.create_deployment_schedules(
        retrain.id, [DeploymentScheduleCreate(schedule=schedule, parameters=parameters, slug="soon")]
    )
    try:
        assert within(300, lambda: any(run.state.is_running() for run in _runs(deployed, retrain)))
    finally:
        deployed.delete_deployment_schedule(retrain.id, made.id)
    assert within(300, lambda: any(run.state.is_completed() for run in _runs(deployed, retrain)))
    run = next(run for run in _runs(deployed, retrain) if run.state.is_completed())
    assert run.auto_scheduled
    lines = {"Running stage 'split':", "split counts patients", "validate counts patients"}
    assert within(120, lambda: lines <= set(_messages(deployed, run.id))), _messages(deployed, run.id)
    of_this_run = ArtifactFilter(flow_run_id=ArtifactFilterFlowRunId(any_=[run.id]))
    keys = {each.key for each in deployed.read_artifacts(artifact_filter=of_this_run)}
    assert {"stages", "result", "metrics", "acceptance", "weights", "report"} <= keys


def test_cancelled_run_leaves_no_process_after_ten_seconds_and_the_next_goes_on(
    deployed: SyncPrefectClient, retrain: DeploymentResponse, toy: Path
) -> None:
    run, _ = _start_until_finetune_sleeps(deployed, retrain, toy)
    deployed.set_flow_run_state(run, Cancelling(), force=True)
    assert within(10, lambda: _processes(toy) == []), _processes(toy)
    assert within(120, lambda: _state(deployed, run).is_cancelled()), _state(deployed, run)
    _assert_next_run_goes_on(deployed, retrain, toy)


def test_killed_worker_takes_its_run_along_which_is_marked_and_the_next_goes_on(
    deployed: SyncPrefectClient, retrain: DeploymentResponse, toy: Path, workers: Workers
) -> None:
    run, _ = _start_until_finetune_sleeps(deployed, retrain, toy)
    workers.process.kill()
    assert within(10, lambda: _processes(toy) == []), _processes(toy)
    assert within(120, lambda: _state(deployed, run).is_crashed()), _state(deployed, run)
    workers.start()
    _assert_next_run_goes_on(deployed, retrain, toy)


@pytest.mark.long
def test_run_whose_process_vanished_is_marked_as_crashed(
    deployed: SyncPrefectClient, retrain: DeploymentResponse, toy: Path, workers: Workers
) -> None:
    """As when a machine loses its power: nobody is left to report."""
    run, stage = _start_until_finetune_sleeps(deployed, retrain, toy)
    flow = _parent(_parent(stage))
    workers.process.kill()
    os.kill(flow, signal.SIGKILL)
    assert within(10, lambda: _processes(toy) == []), _processes(toy)
    workers.start()
    assert within(240, lambda: _state(deployed, run).is_final(), every_s=2)
    assert _state(deployed, run).is_crashed()
    assert "No heartbeat for 90 s" in str(_state(deployed, run).message)
    _assert_next_run_goes_on(deployed, retrain, toy)


def test_second_of_two_runs_waits(deployed: SyncPrefectClient, retrain: DeploymentResponse, toy: Path) -> None:
    first, stage = _start_until_finetune_sleeps(deployed, retrain, toy)
    (toy / "finetune.trouble").unlink()
    second = _start(deployed, retrain, toy)
    assert within(120, lambda: _state(deployed, second).name == "AwaitingConcurrencySlot"), _state(deployed, second)
    assert not _state(deployed, first).is_final()
    os.kill(stage, signal.SIGKILL)  # the first fails
    assert within(120, lambda: _state(deployed, first).is_failed()), _state(deployed, first)
    assert within(300, lambda: _state(deployed, second).is_completed()), _state(deployed, second)


class OlderServer(http.server.BaseHTTPRequestHandler):
    """Answers as a server of Prefect 3.1 does when it is asked for its version, and below /locked asks who that is."""

    def do_GET(self) -> None:
        self.send_response(401 if "/locked" in self.path else 200)
        self.end_headers()
        self.wfile.write(b'"3.1.0"')

    def log_message(self, *_: object) -> None:
        """Says nothing."""


def _deploy(root: Path, environment: dict[str, str], status: int = 0) -> str:
    command = [sys.executable, "-m", "flows.deployment"]
    done = subprocess.run(
        command, cwd=root, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, timeout=300
    )
    assert done.returncode == status, done.stdout
    return done.stdout


def _limit(deployment: DeploymentResponse) -> tuple[int, str]:
    assert deployment.global_concurrency_limit is not None
    assert deployment.concurrency_options is not None
    return deployment.global_concurrency_limit.limit, deployment.concurrency_options.collision_strategy


def _start(api: SyncPrefectClient, deployment: DeploymentResponse, toy: Path) -> UUID:
    parameters = {"repository": str(toy), "in_place": True}
    return api.create_flow_run_from_deployment(deployment.id, parameters=parameters, state=Scheduled()).id


def _start_until_finetune_sleeps(api: SyncPrefectClient, deployment: DeploymentResponse, toy: Path) -> tuple[UUID, int]:
    """A run whose stage `finetune` never ends, and the process of that stage."""
    (toy / "finetune.trouble").write_text("sleep")
    run = _start(api, deployment, toy)
    # The line is there before the stage has ended: it never does.
    assert within(300, lambda: "finetune counts patients" in _messages(api, run), 0.5), _messages(api, run)
    return run, int((toy / "sleeping").read_text())


def _assert_next_run_goes_on(api: SyncPrefectClient, deployment: DeploymentResponse, toy: Path) -> None:
    """It completes, and does no stage again that was done."""
    (toy / "finetune.trouble").unlink()
    run = _start(api, deployment, toy)
    assert within(300, lambda: _state(api, run).is_completed(), 0.5), (_state(api, run), _messages(api, run))
    assert (toy / "runs.txt").read_text().split() == ["demo", "split", "finetune", "finetune", "validate"]


def _processes(toy: Path) -> list[int]:
    """Living processes of which the folder is the working directory: DVC, the stage, and what it started."""
    found = []
    for process in Path("/proc").glob("[0-9]*"):
        try:
            if (process / "cwd").resolve() == toy and (process / "cmdline").read_bytes():
                found.append(int(process.name))
        except (FileNotFoundError, PermissionError, ProcessLookupError):
            continue
    return found


def _parent(process: int) -> int:
    return int(Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[1])


def _runs(api: SyncPrefectClient, deployment: DeploymentResponse) -> list[FlowRun]:
    """The deployment's runs."""
    of_it = FlowRunFilter(deployment_id=FlowRunFilterDeploymentId(any_=[deployment.id]))
    return api.read_flow_runs(flow_run_filter=of_it, limit=200)


def _state(api: SyncPrefectClient, run: UUID) -> State[Any]:
    state = api.read_flow_run(run).state
    assert state is not None
    return state


def _messages(api: SyncPrefectClient, run: UUID) -> list[str]:
    return [entry.message for entry in api.read_logs(LogFilter(flow_run_id=LogFilterFlowRunId(any_=[run])))]
