"""`dvc exp run` and `dvc queue`: other settings of a training, side by side."""

from __future__ import annotations

import csv
import io
from typing import Any

import pytest

from pipeline.files import read_csv
from tests.waiting import within

pytestmark = pytest.mark.acceptance


@pytest.fixture(scope="module")
def project(built: Any, tmp_path_factory: pytest.TempPathFactory) -> Any:
    return built.copy(tmp_path_factory.mktemp("experiments"))


def _shown(project: Any) -> list[dict[str, str]]:
    """The rows of `dvc exp show`."""
    return list(csv.DictReader(io.StringIO(project.run("dvc", "exp", "show", "--csv"))))


def test_an_experiment_runs_what_depends_on_its_parameter_and_is_listed(project: Any) -> None:
    changed = ["-S", "finetune.dropout=0.3", "-S", "finetune.phases.0.epochs=1"]
    said = project.run("dvc", "exp", "run", "--name", "wide", *changed, "finetune")
    assert "Running stage 'finetune'" in said
    assert "Running stage 'prepare'" not in said
    assert "of the epoch that is kept" in said
    (row,) = [row for row in _shown(project) if row["Experiment"] == "wide"]
    assert row["finetune.dropout"] == "0.3"
    history = read_csv(project.folder / "models/finetuned/history.csv")
    assert [epoch["phase"] for epoch in history] == ["start", "head", "all"]


def test_experiments_can_be_queued_and_taken_back(project: Any) -> None:
    for patience in (1, 2):
        project.run("dvc", "exp", "run", "--queue", "-S", f"finetune.patience={patience}", "finetune")
    assert project.run("dvc", "queue", "status").count("Queued") == 2
    project.run("dvc", "queue", "remove", "--all")
    assert "Queued" not in project.run("dvc", "queue", "status")


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
