"""Fixtures for the whole suite."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import pytest

from tests.dicom import series_builder

ROOT = Path(__file__).resolve().parent.parent


@pytest.fixture(scope="session")
def root() -> Path:
    """The checkout."""
    return ROOT


@pytest.fixture(scope="session")
def shared() -> Path:
    """Scans, labels and weights for the tests; they lie beside the checkout and are not part of the project."""
    folder = ROOT.parent / "shared"
    if not folder.is_dir():
        if os.environ.get("CI"):
            pytest.fail(f"{folder} is missing, and in CI no test may skip for it")
        pytest.skip(f"{folder} is not there")
    return folder


@pytest.fixture(scope="session")
def builder() -> ModuleType:
    """The builder of hand-made series of DICOM."""
    return series_builder


@pytest.fixture(scope="session")
def program() -> Callable[[str], str]:
    """Where a program is that is no Python package: `program("dciodvfy")`; the test skips without it."""
    return _program


def _program(name: str) -> str:
    path = shutil.which(name)
    if path is None:
        if os.environ.get("CI"):
            pytest.fail(f"{name} is not installed, and in CI no test may skip for it")
        pytest.skip(f"{name} is not installed")
    return path
