"""git and DVC as child processes: what they print, or an error that says what they said."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from pipeline.errors import DataError, StorageError
from pipeline.parent import WITH_THIS

#: Who commits and tags where nobody told git a name.
NOBODY = {"user.name": "mri-transfer", "user.email": "mri-transfer@localhost"}


def git(folder: Path, *arguments: str) -> str:
    """What a git command prints.

    Raises:
        DataError: it failed.
    """
    done = _run(["git", "-C", str(folder), *arguments])
    if done.returncode:
        raise DataError(f"`git {arguments[0]}` to end well in {folder}", _said(done), "Mend that, then try again.")
    return done.stdout.strip()


def asked(folder: Path, *arguments: str) -> str | None:
    """What a git command prints; None where it says no."""
    done = _run(["git", "-C", str(folder), *arguments])
    return done.stdout.strip() if done.returncode == 0 else None


def identity(folder: Path) -> list[str]:
    """Options by which git in `folder` knows who commits and tags: what is set there, or else `NOBODY`."""
    return [
        option
        for key, name in NOBODY.items()
        for option in ("-c", f"{key}={asked(folder, 'config', '--get', key) or name}")
    ]


def dvc(folder: Path, *arguments: str) -> str:
    """What a DVC command prints; it ends with this process.

    Raises:
        StorageError: it failed; what it moves may be away for a while.
    """
    environment = {**os.environ, "DVC_NO_ANALYTICS": "1", "NO_COLOR": "1"}
    command = [*WITH_THIS, sys.executable, "-m", "dvc", *arguments]
    done = _run(command, cwd=folder, env=environment)
    if done.returncode:
        raise StorageError(f"`dvc {arguments[0]}` to end well in {folder}", _said(done), "Mend that, then try again.")
    return done.stdout.strip()


def _run(
    command: list[str], cwd: Path | None = None, env: dict[str, str] | None = None
) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        command, cwd=cwd, env=env, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False
    )


def _said(done: subprocess.CompletedProcess[str]) -> str:
    """The error in one line."""
    return " ".join((done.stderr or done.stdout).split()) or f"exit status {done.returncode}"
