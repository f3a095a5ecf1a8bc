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


#: Files that share what takes a minute to make: a server, the project that is built once.
TOGETHER = {
    f"tests/flows/test_{name}.py": "flows"
    for name in ("deployment", "ingest", "local", "monitoring", "promotion", "retrain", "retrain_in_clone")
} | {
    f"tests/acceptance/test_{name}.py": "built"
    for name in ("dag", "experiments", "offline", "rebuild", "several_classes")
}
#: What takes longest, and so begins first. The flows mostly wait.
FIRST = ["flows", "built", "tests/acceptance/test_own_data.py"]


def scope_of(nodeid: str) -> str:
    """What goes to one worker: a file, or a group of files."""
    path = nodeid.partition("::")[0]
    return TOGETHER.get(path, path)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    place = {scope: number for number, scope in enumerate(FIRST)}
    items.sort(key=lambda item: place.get(scope_of(item.nodeid), len(FIRST)))


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> Any:
    """Each worker takes whole files or groups of them, in their order."""
    from xdist.scheduler import LoadScopeScheduling

    class Files(LoadScopeScheduling):  # type: ignore[misc, unused-ignore]
        def _split_scope(self, nodeid: str) -> str:
            return scope_of(nodeid)

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
