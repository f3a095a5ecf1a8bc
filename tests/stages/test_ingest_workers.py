"""Ingest with worker processes: what they or the stage lose by a kill changes no byte, and costs only itself."""

from __future__ import annotations

import multiprocessing
import os
import shutil
import signal
import subprocess
import sys
import threading
from collections import Counter

import pytest

from pipeline.dicom import incremental, saved
from pipeline.dicom.saved import Saved
from pipeline.processes import Processes
from tests.stages.many_series import VOLUMES, ManySeries

#: The stage in small steps, all by workers; killed at a call of one of its functions.
KILLED = """
import os, signal, sys
from pipeline import config
from pipeline.dicom import load, memory
from pipeline.dicom.incremental import Incremental
from pipeline.stages.ingest import ingest
if __name__ == "__main__":
    load.CHUNK, load.HERE_S, memory.FLUSH_S = 4, 0.0, 0.0
    name, left = sys.argv[1], int(sys.argv[2])
    real = getattr(Incremental, name)
    def counted(*arguments):
        global left
        left -= 1
        if left < 0:
            os.kill(os.getpid(), signal.SIGKILL)
        return real(*arguments)
    setattr(Incremental, name, counted)
    ingest(config.load())
"""


@pytest.fixture
def project(root, builder, tmp_path, monkeypatch):
    monkeypatch.setattr("pipeline.dicom.load.HERE_S", 0.0)
    monkeypatch.setattr("pipeline.dicom.load.CHUNK", 4)
    return ManySeries(root, builder, tmp_path, monkeypatch)


@pytest.fixture
def submitted(monkeypatch):
    """How many files and volumes workers were given."""
    given: Counter[str] = Counter()
    real = Processes.submit

    def submit(self, function, item):
        if function is incremental.read_files:
            given["files"] += len(item.paths)
        else:
            assert function is saved.encode, "nothing else is for workers"
            given["volumes"] += 1
        return real(self, function, item)

    monkeypatch.setattr(Processes, "submit", submit)
    return given


def test_workers_change_nothing_and_have_nothing_to_do_again(project, submitted):
    alone = project("alone")
    assert not submitted
    assert project("many", workers=2) == alone
    assert submitted == {"volumes": VOLUMES, "files": len([*project.scans.iterdir()])}
    submitted.clear()
    shutil.rmtree("data")
    assert project("many", workers=2) == alone
    assert not submitted


def test_a_worker_that_is_killed_changes_nothing(project, monkeypatch):
    alone = project("alone")
    put, done_when_killed, done = Saved.put, [], []

    def kill(worker: int) -> None:
        os.kill(worker, signal.SIGKILL)
        done_when_killed.append(len(done))

    def put_and_kill(volume, target):
        """At the third volume a worker stands still, so that it has work under way when it is killed."""
        put(volume, target)
        done.append(target)
        if len(done) == 3:
            worker = multiprocessing.active_children()[0].pid
            os.kill(worker, signal.SIGSTOP)
            threading.Timer(1, kill, [worker]).start()

    monkeypatch.setattr(Saved, "put", put_and_kill)
    assert project("many", workers=2) == alone
    assert 3 <= done_when_killed[0] < VOLUMES, "the rest waited for what the worker had"


@pytest.mark.parametrize(
    ("place", "after", "files", "volumes"),
    [("_remember", 60, 60, 0), ("_write", 5, None, 5), ("forget_others", 0, None, VOLUMES)],
)
def test_a_killed_ingest_goes_on_where_it_was(project, submitted, root, tmp_path, place, after, files, volumes):
    alone = project("alone")
    folder, script = project.enter("many", workers=2), tmp_path / "killed.py"
    script.write_text(KILLED)
    environment = os.environ | {"PYTHONPATH": str(root)}
    with subprocess.Popen(
        [sys.executable, script, place, str(after)], env=environment, stderr=subprocess.DEVNULL
    ) as run:
        assert run.wait(60) == -signal.SIGKILL
    shutil.rmtree(folder / "data", ignore_errors=True)
    assert project("many", workers=2) == alone
    total = len([*project.scans.iterdir()])
    assert submitted["files"] == (total - files if files else 0)
    assert submitted["volumes"] == VOLUMES - volumes
