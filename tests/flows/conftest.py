"""A toy project under DVC, and a Prefect server of its own."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path

import pytest

#: A stage like those of the product: it reads params.yaml and runs under the same runner.
STEP = """
import sys, time
from pathlib import Path
from pipeline.errors import SplitError, StorageError
from pipeline.files import write_json
from pipeline.progress import say
from pipeline.stages import runner

name = sys.argv[1]

def step(params):
    with Path("runs.txt").open("a") as runs:
        runs.write(name + "\\n")
    say(f"{name} counts patients")
    trouble = Path(f"{name}.trouble")
    word = trouble.read_text() if trouble.exists() else ""
    if word == "fail":
        raise SplitError("two sites", "one", "Give another.")
    if word == "full":
        trouble.unlink()
        raise StorageError("room", "none", "Free some.")
    if word == "crash":
        sys.exit("segments of bone")
    if word == "sleep":
        import os
        Path("sleeping").write_text(str(os.getpid()))
        time.sleep(300)
    if name == "validate":
        figure = {"value": 0.9, "low": 0.8, "high": 0.95}
        write_json(Path("reports/metrics.json"), {
            "finetuned": {"auroc": figure}, "probe": {"auroc": figure}, "scratch": {"auroc": figure},
            "operating_point": {"threshold": 0.5, "sensitivity": figure, "specificity": figure},
            "calibration": {"brier": {"value": 0.1, "low": 0.05, "high": 0.15}},
            "test": {"patients": 30, "units": 31, "positives": 12},
            "transfer": {"verdict": "positive", "difference": 0.1, "low": 0.05, "high": 0.2}})
    Path(f"{name}.txt").write_text(name)

runner.run(name, step)
"""

# `exec`, so that the stage is a child of DVC itself under every shell.
DAG = """
stages:
  split: {cmd: exec python step.py split, deps: [demo.txt], outs: [split.txt]}
  validate:
    cmd: exec python step.py validate
    deps: [split.txt]
    outs: [validate.txt]
    metrics: [reports/metrics.json: {cache: false}]
"""
UPSTREAM = "stages:\n  demo: {wdir: ../.., cmd: exec python step.py demo, outs: [demo.txt]}\n"
UNRELATED = "stages:\n  other: {cmd: exit 1, outs: [other.txt]}\n"


@pytest.fixture
def toy(root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Three stages: `demo`, which stands in another dvc.yaml, then `split`, then `validate`."""
    monkeypatch.setenv("DVC_NO_ANALYTICS", "1")
    monkeypatch.setenv("DVC_SITE_CACHE_DIR", str(tmp_path / "site"))
    project = tmp_path / "toy"
    project.mkdir()
    subprocess.run(["git", "init", "--quiet"], cwd=project, check=True)
    shutil.copytree(root / ".dvc", project / ".dvc", ignore=shutil.ignore_patterns("tmp", "cache", "config.local"))
    for name, text in {
        "step.py": STEP,
        "dvc.yaml": DAG,
        "data/demo/dvc.yaml": UPSTREAM,
        "elsewhere/dvc.yaml": UNRELATED,
        "params.yaml": (root / "params.yaml").read_text(),
    }.items():
        path = project / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return project


@pytest.fixture(scope="session")
def start_module() -> Callable[..., AbstractContextManager[subprocess.Popen[bytes]]]:
    """Starts a Python module as a program and ends it."""
    return _start_module


@contextmanager
def _start_module(arguments: list[str], log: Path, **options: object) -> Iterator[subprocess.Popen[bytes]]:
    """A Python module as a process of its own group; it alone, by its id, is ended when the context is left."""
    with open(log, "wb") as out:
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


@pytest.fixture(scope="session")
def prefect_environment(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, str]]:
    """The environment in which `prefect` finds a real server on a free loopback port, with an empty database."""
    home = tmp_path_factory.mktemp("prefect")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = str(free.getsockname()[1])
    environment = {name: value for name, value in os.environ.items() if not name.startswith("PREFECT_")}
    environment |= {
        "PREFECT_HOME": str(home),
        "PREFECT_API_URL": f"http://127.0.0.1:{port}/api",
        "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
        "PREFECT_SERVER_DATABASE_CONNECTION_URL": f"sqlite+aiosqlite:///{home}/prefect.db",
        "PREFECT_WORKER_QUERY_SECONDS": "1",
        "DO_NOT_TRACK": "1",
        "PATH": os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]]),
    }
    server = ["prefect", "server", "start", "--host", "127.0.0.1", "--port", port]
    with _start_module(server, home / "server.log", env=environment) as process:
        _wait_for(f"{environment['PREFECT_API_URL']}/health", process, home / "server.log")
        yield environment


def _wait_for(address: str, process: subprocess.Popen[bytes], log: Path) -> None:
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline and process.poll() is None:
        try:
            with urllib.request.urlopen(address, timeout=5):
                return
        except (urllib.error.URLError, OSError):
            time.sleep(0.3)
    pytest.fail(f"the Prefect server did not start:\n{log.read_text()}")
