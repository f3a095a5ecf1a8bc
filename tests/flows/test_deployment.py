"""prefect.yaml through a real server, work pool and worker."""

from __future__ import annotations

import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.waiting import within

pytestmark = pytest.mark.acceptance


@pytest.fixture(scope="module")
def api(prefect_environment: dict[str, str]) -> Iterator[httpx.Client]:
    with httpx.Client(base_url=prefect_environment["PREFECT_API_URL"], timeout=30) as client:
        yield client


@pytest.fixture(scope="module")
def deployment(
    root: Path,
    prefect_environment: dict[str, str],
    api: httpx.Client,
    program: Callable[..., Any],
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[dict[str, Any]]:
    """`training` as `prefect deploy --all` leaves it, with a worker at work."""
    for command in (["work-pool", "create", "mri-training", "--type", "process"], ["--no-prompt", "deploy", "--all"]):
        done = subprocess.run(
            ["prefect", *command], cwd=root, env=prefect_environment, capture_output=True, text=True, timeout=60
        )
        assert done.returncode == 0, done.stdout + done.stderr
    folder = tmp_path_factory.mktemp("worker")
    worker = ["prefect", "worker", "start", "--pool", "mri-training", "--type", "process"]
    with program(worker, folder / "worker.log", cwd=folder, env=prefect_environment):
        yield api.get("/deployments/name/training/training").raise_for_status().json()


def test_deployment_runs_weekly_and_one_run_at_a_time(deployment: dict[str, Any]) -> None:
    schedules = [(schedule["slug"], schedule["active"], schedule["schedule"]) for schedule in deployment["schedules"]]
    assert schedules == [("weekly", True, {"cron": "0 2 * * 6", "timezone": "Etc/UTC", "day_or": True})]
    assert deployment["tags"] == ["training"]
    assert deployment["global_concurrency_limit"]["limit"] == 1
    assert deployment["concurrency_options"]["collision_strategy"] == "ENQUEUE"


def test_run_completes_with_its_lines_in_the_log(api: httpx.Client, deployment: dict[str, Any], toy: Path) -> None:
    run = _start(api, deployment, toy)
    assert within(60, lambda: _state(api, run)["type"] in {"COMPLETED", "FAILED", "CRASHED"}), _state(api, run)
    assert _state(api, run)["type"] == "COMPLETED", _messages(api, run)
    for line in ("Running stage 'split':", "split counts patients", "validate counts patients"):
        assert within(60, lambda line=line: line in _messages(api, run)), line


def test_cancelled_run_leaves_no_child(api: httpx.Client, deployment: dict[str, Any], toy: Path) -> None:
    (toy / "split.trouble").write_text("sleep")
    run = _start(api, deployment, toy)
    # The line is there before the stage has ended: it never does.
    assert within(60, lambda: "split counts patients" in _messages(api, run)), _messages(api, run)
    stage = int((toy / "sleeping").read_text())
    state = {"state": {"type": "CANCELLING"}, "force": True}
    api.post(f"/flow_runs/{run}/set_state", json=state).raise_for_status()
    assert within(60, lambda: _state(api, run)["type"] == "CANCELLED"), _state(api, run)
    assert within(
        60, lambda: not Path(f"/proc/{stage}/cmdline").exists() or not Path(f"/proc/{stage}/cmdline").read_bytes()
    )
    assert (toy / "runs.txt").read_text().split() == ["demo", "split"]


def _start(api: httpx.Client, deployment: dict[str, Any], toy: Path) -> str:
    order = {"parameters": {"workspace": str(toy)}, "state": {"type": "SCHEDULED"}}
    return str(api.post(f"/deployments/{deployment['id']}/create_flow_run", json=order).raise_for_status().json()["id"])


def _state(api: httpx.Client, run: str) -> dict[str, Any]:
    return dict(api.get(f"/flow_runs/{run}").raise_for_status().json()["state"])


def _messages(api: httpx.Client, run: str) -> list[str]:
    query = {"logs": {"flow_run_id": {"any_": [run]}}}
    return [entry["message"] for entry in api.post("/logs/filter", json=query).raise_for_status().json()]
