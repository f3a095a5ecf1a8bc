"""A flow as a program against a real server, and what that server says of it."""

from __future__ import annotations

import json
import subprocess
import sys
from typing import Any
from uuid import UUID

from prefect.client.orchestration import SyncPrefectClient
from prefect.client.schemas.filters import (
    ArtifactFilter,
    ArtifactFilterFlowRunId,
    FlowRunFilter,
    FlowRunFilterDeploymentId,
    LogFilter,
    LogFilterFlowRunId,
)

#: Calls a flow, without the minutes between two tries of a stage.
PROGRAM = """
import importlib, json, sys
from flows import stages
stages.run_stage = stages.run_stage.with_options(retry_delay_seconds=0)
module, _, name = sys.argv[1].partition(":")
getattr(importlib.import_module(module), name)(**json.loads(sys.argv[2]))
"""


def call(flow: str, environment: dict[str, str], **parameters: object) -> int:
    """The exit status of a program that calls a flow, named `module:function`."""
    return run(PROGRAM, flow, environment, **parameters)


def run(program: str, flow: str, environment: dict[str, str], **parameters: object) -> int:
    """The exit status of such a program."""
    command = [sys.executable, "-c", program, flow, json.dumps(parameters)]
    return subprocess.run(command, env=environment, check=False).returncode


def last(client: SyncPrefectClient) -> UUID:
    """The newest run that no deployment asked for."""
    deployment = FlowRunFilterDeploymentId(is_null_=True)
    runs = client.read_flow_runs(flow_run_filter=FlowRunFilter(deployment_id=deployment))
    return max(runs, key=lambda run: run.created).id


def artifacts(client: SyncPrefectClient, run: UUID) -> dict[str | None, tuple[str | None, Any]]:
    """Kind and content of a run's artifacts, by key."""
    of_this_run = ArtifactFilter(flow_run_id=ArtifactFilterFlowRunId(any_=[run]))
    return {each.key: (each.type, each.data) for each in client.read_artifacts(artifact_filter=of_this_run)}


def log(client: SyncPrefectClient, run: UUID) -> list[str]:
    """A run's lines that the server has by now; the last ones come a moment after it ended."""
    return [each.message for each in client.read_logs(LogFilter(flow_run_id=LogFilterFlowRunId(any_=[run])))]
