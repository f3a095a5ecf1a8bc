"""Fixtures for the whole suite."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

if "PYTEST_XDIST_WORKER" in os.environ:
    # Before torch comes: workers side by side, and the programs they start, have a core each.
    os.environ.setdefault("OMP_NUM_THREADS", "1")

from tests import programs
from tests.dicom import series_builder

ROOT = Path(__file__).resolve().parent.parent


#: Files that share what takes a minute to make: the project that is built once, a server.
TOGETHER = {
    f"tests/acceptance/test_{name}.py": "built"
    for name in ("dag", "experiments", "offline", "rebuild", "several_classes")
}


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> Any:
    """Each worker takes whole files, in their order; those of one group go to one worker."""
    from xdist.scheduler import LoadScopeScheduling

    class Files(LoadScopeScheduling):  # type: ignore[misc, unused-ignore]
        def _split_scope(self, nodeid: str) -> str:
            path = nodeid.partition("::")[0]
            return "flows" if path.startswith("tests/flows/") else TOGETHER.get(path, path)

    return Files(config, log)


@pytest.fixture(scope="session")
def root() -> Path:
    """The checkout."""
    return ROOT


@pytest.fixture(scope="session")
def shared() -> Path:
    """Scans, labels and weights for the tests; they lie beside the checkout and are not part of the project."""
    folder = ROOT.parent / "shared"
    if not folder.is_dir():
        programs.missing(f"{folder} is not there")
    return folder


@pytest.fixture(scope="session")
def builder() -> ModuleType:
    """The builder of hand-made series of DICOM."""
    return series_builder


@pytest.fixture(scope="session")
def program() -> Callable[..., str]:
    """Where a program is that is no Python package: `program("dciodvfy")`; see `tests.programs`."""
    return programs.program
