"""The stage on a real Dask cluster: a scheduler and two workers, each a process of its own, on the loopback alone."""

from __future__ import annotations

import os
import shutil
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
from distributed import Security

from pipeline.dicom.pseudonym import Pseudonyms
from pipeline.dicom.saved import Saved
from pipeline.errors import ConfigError, DicomError, WorkerError
from pipeline.parallel import ordered_map
from tests.stages.many_series import VOLUMES, ManySeries
from tests.waiting import within

ROOT = Path(__file__).parents[2]


@pytest.fixture
def project(root, builder, tmp_path, monkeypatch):
    return ManySeries(root, builder, tmp_path, monkeypatch)


@contextmanager
def cluster(
    folder: Path, workers: int = 2, protocol: str = "tcp", root: Path = ROOT
) -> Iterator[tuple[str, list[int]]]:
    """The address of a scheduler, its process, and those of its workers, whose package lies below `root`."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        address = f"{protocol}://127.0.0.1:{free.getsockname()[1]}"
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
    local = project("local")
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
        shared = project("shared", scheduler=address)
    assert 3 <= done_when_killed[0] < VOLUMES, "the rest waited for what the worker had"
    assert sorted(shared) == sorted(local)
    assert [name for name in local if local[name] != shared[name]] == []
    log = (tmp_path / "cluster.log").read_text()
    assert "MRN-" not in log
    assert str(project.scans) not in log


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
            project("without", scheduler=address)
        with dask.config.set(settings):
            assert len([name for name in project("with", scheduler=address) if name.endswith(".nii.gz")]) == VOLUMES


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
    monkeypatch.setattr("pipeline.cluster.ANSWER_S", 5)
    raised = pytest.raises(WorkerError, match="a Dask worker at tcp://.*; found none. Start `dask worker`")
    with cluster(tmp_path, workers=0) as (address, _), raised:
        project("workless", scheduler=address)
    monkeypatch.setattr("pipeline.cluster.ANSWER_S", 1)
    with pytest.raises(ConfigError, match=f"a Dask scheduler at {address}; found none that answers"):
        project("alone", scheduler=address)
    with pytest.raises(ConfigError, match="a Dask scheduler at tls://.*; found none that answers"):
        project("open", scheduler=address.replace("tcp", "tls"))


@pytest.mark.parametrize("change", ["another reader", "no such function", "no package"])
def test_workers_of_another_version_are_an_error(project, tmp_path, change):
    installed = tmp_path / "installed"
    shutil.copytree(ROOT / "pipeline", installed / "pipeline", ignore=shutil.ignore_patterns("__pycache__"))
    if change == "another reader":
        with open(installed / "pipeline/dicom/header.py", "a") as code:
            code.write("# another\n")
    elif change == "no such function":
        (installed / "pipeline/code.py").write_text("")
    else:
        (installed / "pipeline/__init__.py").write_text("raise ImportError('none here')")
    raised = pytest.raises(ConfigError, match=r"Dask workers with this version .*another one, or none, on 1 of 1")
    with cluster(tmp_path, workers=1, root=installed) as (address, _), raised:
        project("mixed", scheduler=address)


def test_a_folder_that_workers_do_not_find_is_an_error(tmp_path):
    raised = pytest.raises(ConfigError, match="Dask workers that find the folder of scans; found 1 that do not")
    with cluster(tmp_path, workers=1) as (address, _), raised, ordered_map(1, address, folder=tmp_path / "none"):
        pass


def test_without_dask_the_error_names_the_extra(project, monkeypatch):
    monkeypatch.setitem(sys.modules, "distributed", None)
    with pytest.raises(ConfigError, match=r"the package distributed.*pip install 'mri-transfer\[cluster\]'"):
        project("bare", scheduler="tcp://127.0.0.1:8786")


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
