"""Ending with the process that started this one, and programs that end with this one."""

from __future__ import annotations

import ctypes
import os
import signal
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

_PR_SET_PDEATHSIG = 1
#: Who started this process: as early as this is loaded, as it may end before it is asked for.
_PARENT = os.getppid()

#: Before a command: the kernel ends it with this process, even if that is killed with -9.
WITH_THIS = ("setpriv", "--pdeathsig", "TERM")


def die_with_parent() -> None:
    """Have the kernel send this process a SIGTERM when its parent ends, even by `kill -9` (prctl(2); Linux only).

    A parent that ended since this module was loaded counts; so this is for processes of their own, not for forks.
    """
    if sys.platform == "linux":
        ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)
        if os.getppid() != _PARENT:
            os.kill(os.getpid(), signal.SIGTERM)


@contextmanager
def running(
    command: Sequence[str],
    grace_s: float,
    cwd: Path | None = None,
    env: Mapping[str, str] | None = None,
    out: BinaryIO | None = None,
) -> Iterator[subprocess.Popen[bytes]]:
    """A program that runs until the context is left, or until this process ends, even by `kill -9`.

    Args:
        command: and its arguments.
        grace_s: seconds that it has between SIGTERM and SIGKILL.
        cwd: its folder; None: this one.
        env: its environment; None: that of this process.
        out: takes what it prints, errors too; None: where this process prints.
    """
    started = subprocess.Popen([*WITH_THIS, *command], cwd=cwd, env=env, stdout=out, stderr=out)
    try:
        yield started
    finally:
        started.terminate()
        try:
            started.wait(grace_s)
        except subprocess.TimeoutExpired:
            started.kill()
            started.wait()
