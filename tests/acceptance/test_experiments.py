"""`dvc exp run` and `dvc queue`: other settings of a training, side by side."""

from __future__ import annotations

import csv
import io
from typing import Any

import pytest

from tests.waiting import within

pytestmark = pytest.mark.acceptance


def _shown(project: Any) -> list[dict[str, str]]:
    """The rows of `dvc exp show`."""
    return list(csv.DictReader(io.StringIO(project.run("dvc", "exp", "show", "--csv"))))


def test_an_experiment_runs_what_depends_on_its_parameter_and_is_listed(built: Any, tmp_path: Any) -> None:
    project = built.copy(tmp_path)
    said = project.run("dvc", "exp", "run", "--name", "wide", "-S", "finetune.dropout=0.3", "finetune")
    assert "Running stage 'finetune'" in said
    assert "Running stage 'prepare'" not in said
    assert "of the epoch that is kept" in said
    (row,) = [row for row in _shown(project) if row["Experiment"] == "wide"]
    assert row["finetune.dropout"] == "0.3"


@pytest.mark.long
def test_queued_experiments_run_one_after_another(built: Any, tmp_path: Any) -> None:
    project = built.copy(tmp_path)
    for name, patience in (("one", 1), ("two", 2)):
        project.run("dvc", "exp", "run", "--queue", "--name", name, "-S", f"finetune.patience={patience}", "finetune")
    # Its worker, which goes on by itself, would keep a pipe open.
    assert project.start("dvc", "queue", "start", log=tmp_path / "worker").wait(120) == 0
    try:
        done = within(240, lambda: project.run("dvc", "queue", "status").count("Success") == 2)
        assert done, project.run("dvc", "queue", "logs", "one")
    finally:
        project.run("dvc", "queue", "stop", "--kill")
    found = {row["Experiment"]: row["finetune.patience"] for row in _shown(project)}
    assert (found["one"], found["two"]) == ("1", "2")
