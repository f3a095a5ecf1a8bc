"""`make prefect`: a server, a work pool and a worker on this machine, until Ctrl-C."""

from __future__ import annotations

import os
import signal
from pathlib import Path

import httpx
import pytest
from prefect.client.orchestration import SyncPrefectClient

from tests import prefect_server
from tests.waiting import within

pytestmark = [pytest.mark.acceptance, pytest.mark.long]


def test_what_is_started_is_deployed_with_a_worker_and_gone_after_ctrl_c(root: Path, tmp_path: Path) -> None:
    with prefect_server.server(tmp_path) as environment:
        # Schedules are off then and stay so: a run would be of this very checkout.
        prefect_server.deploy(environment)
    address, log = environment["PREFECT_API_URL"], tmp_path / "local.log"
    # As a shell starts what is to run in the background.
    options = {"cwd": root, "env": environment, "preexec_fn": lambda: signal.signal(signal.SIGINT, signal.SIG_IGN)}
    with prefect_server.module(["flows.local"], log, **options) as started:
        assert within(400, lambda: "started!" in log.read_text() or started.poll() is not None), log.read_text()
        assert "Deployed. Runs, artifacts and automations: http://127.0.0.1:" in log.read_text()
        with SyncPrefectClient(address) as client:
            deployments = client.read_deployments()
            assert len(deployments) == 6
            # Nothing was made twice, and no schedule came on.
            assert "Traceback" not in log.read_text()
            assert not any(own.active for each in deployments for own in each.schedules)
        os.kill(started.pid, signal.SIGINT)
        assert started.wait(120) == 0
    with pytest.raises(httpx.ConnectError):
        httpx.get(f"{address}/health")
