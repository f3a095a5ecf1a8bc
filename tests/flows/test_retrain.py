"""The flow `retrain` in a project's own folder, run as a program against a real server."""

from __future__ import annotations

import json
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest
from prefect.client.orchestration import SyncPrefectClient
from prefect.client.schemas.filters import (
    FlowRunFilter,
    FlowRunFilterId,
)

from tests.flows import runs
from tests.waiting import within

pytestmark = pytest.mark.acceptance

RETRAIN = "flows.retrain:retrain"
Train = Callable[..., int]


@pytest.fixture
def train(prefect_environment: dict[str, str], toy: Path) -> Train:
    """Runs the flow over the toy project and returns its exit status."""
    environment = prefect_environment | {"DVC_SITE_CACHE_DIR": str(toy.parent / "site")}

    def run(**parameters: object) -> int:
        return runs.call(RETRAIN, environment, repository=str(toy), in_place=True, **parameters)

    return run


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


def test_every_stage_is_a_task_in_the_order_of_the_dag_and_its_figures_are_artifacts(
    client: SyncPrefectClient, train: Train
) -> None:
    assert train() == 0
    run = runs.last(client)
    expected = [(stage, "Completed") for stage in ("demo", "split", "finetune", "validate")]
    _assert_tasks(client, run, ("name", "state_name"), expected)
    artifacts = runs.artifacts(client, run)
    assert {key: kind for key, (kind, _) in artifacts.items()} == {
        None: "progress", "stages": "table", "result": "markdown", "metrics": "table", "acceptance": "table",
        "weights": "markdown", "report": "markdown",
    }  # fmt: skip
    assert artifacts[None][1] == 100.0
    assert [(row["stage"], row["outcome"]) for row in json.loads(artifacts["stages"][1])] == [
        (stage, "ran") for stage, _ in expected
    ]
    assert "| AUROC, fine-tuned | 0.900 (0.800 to 0.950) |" in artifacts["result"][1]
    auroc = {"figure": "AUROC, fine-tuned", "this run": "0.900 (0.800 to 0.950)", "production": "none"}
    assert auroc in json.loads(artifacts["metrics"][1])
    assert [row["verdict"] for row in json.loads(artifacts["acceptance"][1])] == ["met", "MISSED: 0.1"]
    assert "| licence | a\\|b |" in artifacts["weights"][1]
    kept = Path(artifacts["report"][1].rpartition("file://")[2].rstrip(")"))
    assert (kept.stem, kept.read_text()) == (str(run), "a report")


def test_failing_stage_fails_the_flow_with_its_own_message_and_nothing_after_it_runs(
    toy: Path, client: SyncPrefectClient, train: Train
) -> None:
    (toy / "split.trouble").write_text("fail")
    assert train() != 0
    run = runs.last(client)
    _assert_tasks(client, run, ("name", "state_name"), [("demo", "Completed"), ("split", "Failed")])
    state = client.read_flow_run(run).state
    assert state.is_failed()
    assert "stage split to end well; found SplitError: expected two sites; found one. Give another." in state.message
    assert (toy / "runs.txt").read_text().split() == ["demo", "split"]  # tried once: the error is not retryable


def test_stage_that_calls_its_error_retryable_is_tried_again_among_the_chosen_stages(
    toy: Path, client: SyncPrefectClient, train: Train
) -> None:
    (toy / "split.trouble").write_text("full")
    assert train(stages=["data/demo/dvc.yaml:demo", "split"]) == 0
    assert (toy / "runs.txt").read_text().split() == ["demo", "split", "split"]
    _assert_tasks(client, runs.last(client), ("name", "run_count"), [("demo", 1), ("split", 2)])


def test_scans_that_are_not_there_end_the_flow_before_any_stage(
    toy: Path, client: SyncPrefectClient, train: Train
) -> None:
    (toy / "params.yaml").write_text((toy / "params.yaml").read_text().replace("data/demo/dicom ", "/no/scans "))
    assert train() != 0
    state = client.read_flow_run(runs.last(client)).state
    assert state.is_failed()
    assert "data.dicom_dir in params.yaml to exist; found no /no/scans" in state.message
    assert not (toy / "runs.txt").exists()


def test_stage_that_takes_too_long_fails_the_flow(toy: Path, client: SyncPrefectClient, train: Train) -> None:
    (toy / "split.trouble").write_text("sleep")
    assert train(timeout_minutes={"split": 0.02}) != 0
    state = client.read_flow_run(runs.last(client)).state
    assert state.is_failed()
    assert "after 0.02 minutes, and ended it. Allow it more in `timeout_minutes`" in state.message
    artifacts = runs.artifacts(client, runs.last(client))
    assert [row["outcome"] for row in json.loads(artifacts["stages"][1])] == ["ran", "did not end well"]


def test_limit_of_a_stage_that_is_not_there_is_refused_before_any_runs(
    toy: Path, client: SyncPrefectClient, train: Train
) -> None:
    assert train(timeout_minutes={"finetun": 5}) != 0
    state = client.read_flow_run(runs.last(client)).state
    assert "expected stages in `timeout_minutes`; found finetun. Choose among: demo, split, finetune" in state.message
    assert not (toy / "runs.txt").exists()


def test_training_waits_for_its_place_at_the_gpu(
    toy: Path, client: SyncPrefectClient, prefect_environment: dict[str, str]
) -> None:
    client.upsert_global_concurrency_limit_by_name("gpu", 1)
    client.increment_concurrency_slots(names=["gpu"], slots=1, mode="concurrency").raise_for_status()
    environment = prefect_environment | {"DVC_SITE_CACHE_DIR": str(toy.parent / "site")}
    command = [sys.executable, "-c", runs.PROGRAM, RETRAIN, json.dumps({"repository": str(toy), "in_place": True})]
    started = subprocess.Popen(command, env=environment)
    try:
        ran = toy / "runs.txt"
        assert within(60, lambda: ran.exists() and "split" in ran.read_text())
        assert not within(5, lambda: "finetune" in ran.read_text())
    finally:
        client.release_concurrency_slots(names=["gpu"], slots=1, occupancy_seconds=5).raise_for_status()
    assert started.wait(120) == 0
    assert "finetune" in ran.read_text()


def test_without_a_server_nothing_runs(toy: Path, prefect_environment: dict[str, str]) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))  # nobody listens
        nowhere = f"http://127.0.0.1:{taken.getsockname()[1]}/api"
        done = subprocess.run(
            [sys.executable, "-c", runs.PROGRAM, RETRAIN, json.dumps({"repository": str(toy), "in_place": True})],
            env=prefect_environment | {"PREFECT_API_URL": nowhere},
            capture_output=True, text=True, check=False,
        )  # fmt: skip
    assert done.returncode != 0
    assert f"Failed to reach API at {nowhere}" in done.stderr
    assert not (toy / "runs.txt").exists()
