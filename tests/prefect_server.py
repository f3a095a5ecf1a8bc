"""A Prefect server of one's own with an empty database, and programs beside it."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path

from prefect.client.orchestration import SyncPrefectClient

ROOT = Path(__file__).resolve().parent.parent


@contextmanager
def module(arguments: list[str], log: Path, **options: object) -> Iterator[subprocess.Popen[bytes]]:
    """A Python module as a process of its own group; it alone, by its id, is ended when the context is left."""
    with open(log, "ab") as out:
        command = [sys.executable, "-m", *arguments]
        process = subprocess.Popen(command, stdout=out, stderr=subprocess.STDOUT, start_new_session=True, **options)
        try:
            yield process
        finally:
            process.terminate()
            try:
                process.wait(20)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()


def environment(home: Path) -> dict[str, str]:
    """In which `prefect` looks for a server on a port that is free now, and keeps everything in `home`."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = str(free.getsockname()[1])
    return {name: value for name, value in os.environ.items() if not name.startswith("PREFECT_")} | {
        "PREFECT_HOME": str(home),
        "PREFECT_API_URL": f"http://127.0.0.1:{port}/api",
        "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
        "PREFECT_SERVER_DATABASE_CONNECTION_URL": f"sqlite+aiosqlite:///{home}/prefect.db",
        "PREFECT_SERVER_SERVICES_SCHEDULER_LOOP_SECONDS": "10",
        "PREFECT_SERVER_DEPLOYMENTS_CONCURRENCY_SLOT_WAIT_SECONDS": "5",
        "PREFECT_WORKER_QUERY_SECONDS": "1",
        "DO_NOT_TRACK": "1",
        "XDG_CACHE_HOME": str(home / "cache"),
        "PATH": os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]]),
    }


@contextmanager
def server(home: Path) -> Iterator[dict[str, str]]:
    """A real server on a free loopback port, with an empty database; gives the environment that finds it."""
    found = environment(home)
    address = found["PREFECT_API_URL"]
    port = address.removesuffix("/api").rpartition(":")[2]
    started = ["prefect", "server", "start", "--host", "127.0.0.1", "--port", port]
    with module(started, home / "server.log", env=found) as process:
        _wait_for(f"{address}/health", process, home / "server.log")
        yield found


def worker(home: Path, environment: dict[str, str]) -> AbstractContextManager[subprocess.Popen[bytes]]:
    """A worker of the pool that `deploy` makes; its log is in `home`."""
    arguments = ["prefect", "worker", "start", "--pool", "mri-transfer", "--type", "process"]
    return module(arguments, home / "worker.log", cwd=home, env=environment)


def deploy(environment: dict[str, str]) -> None:
    """What `python -m flows.deployment` does, with all schedules off: they would run this very checkout."""
    command = [sys.executable, "-m", "flows.deployment"]
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    with SyncPrefectClient(environment["PREFECT_API_URL"]) as client:
        for deployment in client.read_deployments():
            for schedule in deployment.schedules:
                client.update_deployment_schedule(deployment.id, schedule.id, active=False)


def _wait_for(address: str, process: subprocess.Popen[bytes], log: Path) -> None:
    deadline = time.monotonic() + 180
    while time.monotonic() < deadline and process.poll() is None:
        try:
            with urllib.request.urlopen(address, timeout=5):
                return
        except (urllib.error.URLError, OSError):
            time.sleep(0.3)
    raise AssertionError(f"the Prefect server did not start:\n{log.read_text()}")
