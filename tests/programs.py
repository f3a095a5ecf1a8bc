"""Programs that the tests need and no Python package brings; in CI no test skips for one that is missing."""

from __future__ import annotations

import os
import shutil
import sysconfig
from typing import NoReturn

import pytest

#: Looked through first; `sbin` is on few users' path.
_SYSTEM = ("/usr/bin", "/usr/sbin", "/usr/local/bin", "/usr/local/sbin")


def program(*names: str) -> str:
    """Where the first of these is that is installed; without any the test skips, and in CI it fails."""
    # Beside Python lie others of the same names, such as pynetdicom's storescu.
    others = [place for place in os.get_exec_path() if place != sysconfig.get_path("scripts")]
    places = os.pathsep.join([*_SYSTEM, *others])
    found = [path for name in names if (path := shutil.which(name, path=places))]
    if not found:
        missing(f"{' or '.join(names)} is not installed")
    return found[0]


def missing(what: str) -> NoReturn:
    """Skip the test, saying why; in CI, fail it.

    Args:
        what: a sentence without its point.
    """
    if os.environ.get("CI"):
        pytest.fail(f"{what}, and in CI no test may skip for it")
    pytest.skip(what)
