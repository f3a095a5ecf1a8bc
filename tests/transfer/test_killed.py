"""A training that is killed, at whatever moment, has the same course when it goes on."""

from __future__ import annotations

import os
import re
import signal
from pathlib import Path

import pytest

from tests.transfer.small_project import Blobs, small_project, start, trained
from tests.waiting import within

CHANGES = {
    "augment": {"flip_chance": 0.5, "rotation_deg": 10.0},
    "dropout": 0.2,
    "average": 0.9,
    "batch_slices": 8,
    "patience": 99,
    "phases": [
        {"name": "head", "trunk": 0.0, "epochs": 6, "learning_rate": 5e-3},
        {"name": "all", "trunk": 1.0, "epochs": 4, "learning_rate": 1e-3},
    ],
}


@pytest.mark.parametrize("processes", [1, pytest.param(2, marks=pytest.mark.long)])
def test_a_killed_training_ends_as_if_it_had_not_been(
    tmp_path: Path, blobs: Blobs, backbone_folder: Path, processes: int
) -> None:
    """While draws are recorded, within a phase on recordings, and within one on slices."""
    changes = CHANGES | {"processes": processes}
    whole = trained(small_project(tmp_path / "whole", blobs, backbone_folder, **changes))
    cut = small_project(tmp_path / "cut", blobs, backbone_folder, **changes)
    for number, line in enumerate(("phase head: ", "head 5/6: ", "all 2/4: ")):
        log = tmp_path / f"log-{number}"
        killed = start(cut, log)
        try:
            assert within(120, lambda log=log, line=line: re.search(line, log.read_text()) is not None), log.read_text()
        finally:
            os.killpg(killed.pid, signal.SIGKILL)
            killed.wait()
    assert not (cut / "models/finetuned").exists()
    again = trained(cut)
    assert "resuming at phase all, epoch" in (cut / "log").read_text()
    assert again == whole
