"""Programs that end with the one that started them."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from contextlib import suppress
from pathlib import Path

import pytest

from pipeline.parent import running
from tests.waiting import within

#: Prints its id and sleeps; with an argument it does not hear SIGTERM.
SLEEPER = """
import os, signal, sys, time
if sys.argv[1:]:
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
print(os.getpid(), flush=True)
time.sleep(600)
"""
#: Runs it with its output in a file, and says when it is there.
PARENT = """
import sys, time
from pathlib import Path
from pipeline.parent import running
with open(sys.argv[1], "wb") as out, running([sys.executable, "-c", sys.argv[2]], 60, out=out):
    time.sleep(600)
"""
#: Says its id, and asks to end with its parent when that is gone already.
ORPHAN = """
import os, sys, time
from pipeline.parent import die_with_parent
parent = os.getppid()
print(os.getpid(), flush=True)
while os.getppid() == parent:
    time.sleep(0.01)
die_with_parent()
print("went on", flush=True)
time.sleep(600)
"""


def _says(log: Path) -> bool:
    return log.is_file() and log.read_bytes().endswith(b"\n")


def _there(number: int) -> bool:
    try:
        os.kill(number, 0)
    except ProcessLookupError:
        return False
    return True


def test_a_program_ends_with_the_context_and_writes_where_it_is_told(tmp_path: Path) -> None:
    log = tmp_path / "log"
    with open(log, "wb") as out, running([sys.executable, "-c", SLEEPER], 60, out=out) as program:
        assert within(60, lambda: _says(log))
        assert int(log.read_text()) == program.pid
    assert program.returncode == -signal.SIGTERM


def test_a_program_that_does_not_hear_is_killed_after_the_grace(tmp_path: Path) -> None:
    log = tmp_path / "log"
    command = [sys.executable, "-c", SLEEPER, "deaf"]
    with open(log, "wb") as out, running(command, 0.2, out=out) as program:
        assert within(60, lambda: _says(log))
    assert program.returncode == -signal.SIGKILL


@pytest.mark.skipif(sys.platform != "linux", reason="the kernel of Linux tells a child of its parent's end")
def test_a_program_ends_with_a_parent_that_is_killed(tmp_path: Path) -> None:
    log = tmp_path / "log"
    with subprocess.Popen([sys.executable, "-c", PARENT, str(log), SLEEPER]) as parent:
        try:
            assert within(60, lambda: _says(log))
            assert _there(int(log.read_text()))
        finally:
            parent.kill()
    assert within(60, lambda: not _there(int(log.read_text())))


@pytest.mark.skipif(sys.platform != "linux", reason="the kernel of Linux tells a child of its parent's end")
def test_a_process_ends_whose_parent_was_gone_before_it_asked(tmp_path: Path) -> None:
    log = tmp_path / "log"
    start = "import subprocess, sys; subprocess.Popen([sys.executable, '-c', sys.argv[1]]).wait()"
    with open(log, "wb") as out, subprocess.Popen([sys.executable, "-c", start, ORPHAN], stdout=out) as parent:
        try:
            assert within(60, lambda: _says(log))
        finally:
            parent.kill()
    orphan = int(log.read_text().split()[0])
    try:
        assert within(60, lambda: not _there(orphan) or "went on" in log.read_text())
        assert "went on" not in log.read_text()
    finally:
        with suppress(ProcessLookupError):
            os.kill(orphan, signal.SIGKILL)
