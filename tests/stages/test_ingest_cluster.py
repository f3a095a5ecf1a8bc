"""The stage on a real Dask cluster: a scheduler and two workers, each a process of its own, on the loopback alone."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import dask
import pytest
import yaml
from distributed import Security

from pipeline import config
from pipeline.dicom.pseudonym import Pseudonyms
from pipeline.dicom.saved import Saved
from pipeline.errors import ConfigError, DicomError, WorkerError
from pipeline.parallel import ordered_map
from pipeline.stages import ingest as stage
from tests.waiting import within

SERIES = 24
VOLUMES = 17  # of eight slices or more


@pytest.fixture
def project(root, builder, tmp_path, monkeypatch):
    """Runs the stage in a folder of its own and gives the bytes of every file that it wrote, by name."""
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    scans = tmp_path / "scans"
    for number in range(SERIES):
        builder.save(builder.classic(f"s{number}", 9 - number % 3, patient=f"MRN-{number}"), scans)
    builder.save([builder.enhanced("enhanced", 12)], scans)
    (scans / "notes.txt").write_text("no DICOM")

    def run(name: str, scheduler: str | None, dicom_dir: Path = scans) -> dict[str, bytes]:
        project = tmp_path / name
        project.mkdir()
        monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / name / "cache"))
        monkeypatch.chdir(project)
        params = yaml.safe_load((root / "params.yaml").read_text())
        params["data"].update(dicom_dir=str(dicom_dir), labels=None)
        params["ingest"].update(min_slices=8, workers=1, scheduler=scheduler)
        Path("params.yaml").write_text(yaml.safe_dump(params))
        stage.ingest(config.load())
        written = [path for path in (project / "data").rglob("*") if path.is_file()]
        return {path.relative_to(project).as_posix(): path.read_bytes() for path in written}

    return run


@contextmanager
def cluster(folder: Path, workers: int = 2, protocol: str = "tcp") -> Iterator[tuple[str, list[int]]]:
    """The address of a scheduler, its process, and those of its workers."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        address = f"{protocol}://127.0.0.1:{free.getsockname()[1]}"
    root = Path(__file__).parents[2]
    environment = os.environ | {"PYTHONPATH": str(root)}
    elsewhere = folder / "elsewhere"  # a current directory that no path leads from
    elsewhere.mkdir()

    def start(kind: str, *arguments: str) -> subprocess.Popen[bytes]:
        command = [sys.executable, "-m", f"distributed.cli.dask_{kind}", *arguments, "--no-dashboard"]
        with open(folder / "cluster.log", "ab") as log:
            return subprocess.Popen(command, cwd=elsewhere, env=environment, stdout=log, stderr=log)

    host, _, port = address.removeprefix(f"{protocol}://").partition(":")
    started = [start("scheduler", "--protocol", protocol, "--host", host, "--port", port)]
    options = ("--no-nanny", "--nthreads", "2", "--local-directory", str(elsewhere))
    started += [start("worker", address, *options, "--host", host) for _ in range(workers)]
    try:
        assert within(60, lambda: (folder / "cluster.log").read_text().count("Register worker") == workers)
        yield address, [process.pid for process in started]
    finally:
        for process in reversed(started):
            process.kill()
            process.wait()


def test_a_cluster_that_loses_a_worker_gives_what_one_process_gives(project, tmp_path, monkeypatch):
    local = project("local", None)
    assert len([name for name in local if name.endswith(".nii.gz")]) == VOLUMES
    monkeypatch.setattr("pipeline.dicom.load.CHUNK", 4)
    put, done_when_killed = Saved.put, []
    volumes = tmp_path / "shared/data/ingested/volumes"
    with cluster(tmp_path) as (address, (_, worker, _)):

        def kill() -> None:
            os.kill(worker, signal.SIGKILL)
            done_when_killed.append(len(list(volumes.iterdir())))

        def put_and_kill(volume: Saved, target: Path) -> None:
            """At the third volume a worker stands still, so that it has work under way when it is killed."""
            put(volume, target)
            if len(list(volumes.iterdir())) == 3:
                os.kill(worker, signal.SIGSTOP)
                threading.Timer(1, kill).start()

        monkeypatch.setattr(Saved, "put", put_and_kill)
        monkeypatch.setattr(Pseudonyms, "__reduce__", lambda self: pytest.fail("the key must not leave this process"))
        shared = project("shared", address)
    assert 3 <= done_when_killed[0] < VOLUMES, "the rest waited for what the worker had"
    assert sorted(shared) == sorted(local)
    assert [name for name in local if local[name] != shared[name]] == []
    log = (tmp_path / "cluster.log").read_text()
    assert "MRN-" not in log
    assert str(tmp_path / "scans") not in log


def test_a_cluster_under_tls_is_used_by_who_has_the_certificate(project, tmp_path, monkeypatch):
    made = Security.temporary()
    settings = {"distributed.comm.require_encryption": "True"}
    for part in (
        "ca_file",
        *(f"{role}.{kind}" for role in ("scheduler", "worker", "client") for kind in ("cert", "key")),
    ):
        path = tmp_path / part
        path.write_text(getattr(made, f"tls_{part.replace('.', '_')}"))
        settings[f"distributed.comm.tls.{part}"] = str(path)
    for name, value in settings.items():
        monkeypatch.setenv(f"DASK_{name.upper().replace('.', '__')}", value)
    with cluster(tmp_path, workers=1, protocol="tls") as (address, _):
        monkeypatch.setattr("pipeline.cluster.ANSWER_S", 2)
        with pytest.raises(ConfigError, match="found none that answers"):
            project("without", address)
        with dask.config.set(settings):
            assert len([name for name in project("with", address) if name.endswith(".nii.gz")]) == VOLUMES


def test_a_failure_on_a_worker_names_nobody_in_its_log(tmp_path):
    raised = pytest.raises(DicomError, match="expected a; found b. c")
    with cluster(tmp_path, workers=1) as (address, _), ordered_map(1, address) as run, raised:
        list(run(fail, [Path("/scans/DOE^JANE")]))
    log = (tmp_path / "cluster.log").read_text()
    assert "Compute Failed" in log
    assert "DOE" not in log


def fail(path: Path) -> None:
    raise DicomError("a", "b", "c")


def test_no_scheduler_or_no_worker_is_an_error_that_says_so(project, tmp_path, monkeypatch):
    monkeypatch.setattr("pipeline.cluster.ANSWER_S", 1)
    raised = pytest.raises(WorkerError, match="a Dask worker at tcp://.*; found none. Start `dask worker`")
    with cluster(tmp_path, workers=0) as (address, _), raised:
        project("workless", address)
    with pytest.raises(ConfigError, match=f"a Dask scheduler at {address}; found none that answers"):
        project("alone", address)
    with pytest.raises(ConfigError, match="a Dask scheduler at tls://.*; found none that answers"):
        project("open", address.replace("tcp", "tls"))


def test_without_dask_the_error_names_the_extra(project, monkeypatch):
    monkeypatch.setitem(sys.modules, "distributed", None)
    with pytest.raises(ConfigError, match=r"the package distributed.*pip install 'mri-transfer\[cluster\]'"):
        project("bare", "tcp://127.0.0.1:8786")


@pytest.mark.parametrize(
    ("setting", "value", "found"),
    [("ALLOWED_FAILURES", "0", "1 that were lost over the same work"), ("NO_WORKERS_TIMEOUT", "500ms", "none")],
)
def test_work_that_kills_workers_is_an_error(tmp_path, monkeypatch, setting, value, found):
    monkeypatch.setenv(f"DASK_DISTRIBUTED__SCHEDULER__{setting}", value)
    raised = pytest.raises(WorkerError, match=f"found {found}")
    with cluster(tmp_path, workers=1) as (address, _), raised, ordered_map(1, address) as run:
        list(run(kill, [None]))


def test_a_scheduler_that_is_lost_is_an_error(tmp_path):
    raised = pytest.raises(WorkerError, match="a Dask scheduler at .* that goes on; found one that was lost")
    with cluster(tmp_path, workers=1) as (address, (scheduler, _)), raised, ordered_map(1, address) as run:
        list(run(kill, [scheduler]))


def kill(process: int | None) -> None:
    os.kill(process or os.getpid(), signal.SIGKILL)
    time.sleep(60)
