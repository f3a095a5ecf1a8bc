"""Ingest as the program that it is, in the current folder."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

Program = Callable[..., subprocess.CompletedProcess[str]]


def run(root: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    """`python -m pipeline.stages.ingest` of the checkout at `root`, whatever its exit status."""
    return subprocess.run(
        [sys.executable, "-m", "pipeline.stages.ingest", *arguments],
        env=os.environ | {"PYTHONPATH": str(root)},
        capture_output=True,
        text=True,
    )
