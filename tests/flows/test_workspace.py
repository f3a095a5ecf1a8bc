"""Clean clones of a project, by real git and DVC."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

from flows.workspace import LEDGER, RUNS, clone, recover_looks
from pipeline.clinical import ledger
from pipeline.errors import ConfigError
from pipeline.files import write_text
from tests.flows import versioned
from tests.flows.versioned import Project
from tests.waiting import within

pytestmark = pytest.mark.acceptance

RELEASE = "models/release/model.onnx"


@pytest.fixture
def project(root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Project:
    monkeypatch.delenv("DVC_SITE_CACHE_DIR", raising=False)
    return versioned.make(root, tmp_path / "project")


def _dvc(folder: Path, *arguments: str) -> str:
    return Project(folder)("dvc", *arguments)


def test_clone_is_of_the_revision_and_gone_afterwards(project: Project) -> None:
    first = project("git", "rev-parse", "HEAD")
    project("git", "tag", "before")
    project.change("seed: 20260901", "seed: 7")
    second = project.commit()
    with clone(project.folder) as now, clone(project.folder, "before") as then:
        assert project.folder / RUNS == now.parent == then.parent
        assert Project(now)("git", "rev-parse", "HEAD") == second
        assert Project(then)("git", "rev-parse", "HEAD") == first
        assert "seed: 20260901" in (then / "params.yaml").read_text()
        assert now.stat().st_mode & 0o077 == 0
    assert list((project.folder / RUNS).glob("run-*")) == []
    assert project("git", "status", "--porcelain") == ""


def test_what_was_done_anywhere_is_not_done_again(project: Project) -> None:
    with clone(project.folder) as workspace:
        _dvc(workspace, "repro")
        assert (workspace / "runs.txt").read_text().split() == ["release"]
    with clone(project.folder) as workspace:
        _dvc(workspace, "repro")
        assert (workspace / RELEASE).read_text() == "weights 20260901"
        assert not (workspace / "runs.txt").exists()


def test_remote_beside_the_project_is_the_clones_too(project: Project, tmp_path: Path) -> None:
    project("dvc", "remote", "add", "--local", "--default", "store", "../store")
    with clone(project.folder, runs=tmp_path / "elsewhere/runs") as workspace:
        _dvc(workspace, "repro")
        _dvc(workspace, "push")
    assert len(list((tmp_path / "store/files/md5").rglob("*.dir"))) == 1


def test_file_of_dvc_comes_along(project: Project) -> None:
    project.write("weights/mine.safetensors", "weights")
    project("dvc", "add", "--quiet", "weights/mine.safetensors")
    project.change("file: models/weights  ", "file: weights/mine.safetensors  ")
    project.commit()
    with clone(project.folder) as workspace:
        assert (workspace / "weights/mine.safetensors").read_text() == "weights"


def test_changed_files_are_named_unless_a_revision_is(project: Project) -> None:
    project.write("notes.txt", "not of git: in nobody's way")
    project.change("seed: 20260901", "seed: 7")
    with pytest.raises(ConfigError, match=r"no uncommitted change in .*; found changed: params\.yaml\. Commit"):
        clone(project.folder).__enter__()
    with clone(project.folder, "HEAD") as workspace:
        assert "seed: 20260901" in (workspace / "params.yaml").read_text()


@pytest.mark.parametrize("revision", ["nowhere", "--all", "HEAD~5"])
def test_unknown_revision_is_refused(project: Project, revision: str) -> None:
    with pytest.raises(ConfigError, match="expected a revision of git in"):
        clone(project.folder, revision).__enter__()
    assert not (project.folder / RUNS).exists()


def test_folder_that_is_no_repository_is_refused(tmp_path: Path, project: Project) -> None:
    for folder in (tmp_path, tmp_path / "nowhere", project.folder / "models"):
        with pytest.raises(ConfigError, match="expected a repository of git and DVC in"):
            clone(folder).__enter__()


@pytest.mark.parametrize(
    ("old", "new", "key"),
    [
        ("file: models/weights  ", "file: models/weights/mine.safetensors  ", "backbone.file"),
        ("key_file: null", "key_file: models/weights/mine.safetensors", "release.key_file"),
        (
            "compare: []",
            "compare: [{name: old, predictions: models/weights/mine.safetensors}]",
            "validate.compare.*.predictions",
        ),
    ],
)
def test_file_that_a_clone_would_not_have_is_named_before_anything_runs(
    project: Project, old: str, new: str, key: str
) -> None:
    project.write("models/weights/mine.safetensors", "weights")
    project.change(old, new)
    project.commit()
    with pytest.raises(ConfigError, match=r"found models/weights/mine\.safetensors, which is in neither") as caught:
        clone(project.folder).__enter__()
    assert f"expected {key} in params.yaml" in str(caught.value)
    assert list((project.folder / RUNS).glob("run-*")) == []


def test_folder_of_a_run_that_failed_does_not_stay(project: Project) -> None:
    def fail() -> None:
        with clone(project.folder) as workspace:
            (workspace / "volume.nii.gz").write_text("a patient")
            raise RuntimeError("of a stage")

    with pytest.raises(RuntimeError, match="of a stage"):
        fail()
    assert list((project.folder / RUNS).glob("run-*")) == []


def test_folder_of_a_killed_run_goes_and_its_looks_at_the_test_set_count(project: Project) -> None:
    code = f"""
        import time
        from pathlib import Path
        from flows.workspace import clone
        from pipeline.clinical import ledger
        with clone(Path({str(project.folder)!r})) as workspace:
            ledger.record(workspace / "reports/ledger.csv", ledger.Key("split", "model", "calibration"), 20)
            Path({str(project.folder)!r}, "secret").write_text("looked")
            time.sleep(300)
    """
    run = subprocess.Popen([sys.executable, "-c", textwrap.dedent(code)])
    assert within(30, (project.folder / "secret").exists)
    [left] = (project.folder / RUNS).glob("run-*")
    with clone(project.folder) as workspace:
        assert left.exists()  # somebody works in it
        assert len((workspace / "reports/ledger.csv").read_text().splitlines()) == 1
    os.kill(run.pid, signal.SIGKILL)
    run.wait()
    with clone(project.folder, "HEAD"):  # of a run that commits nothing
        assert not left.exists()
    assert [_opened(project) for _ in range(2)] == [1, 1]


def _opened(project: Project) -> int:
    """How often the ledger of a new clone says that the test set was opened, by models of that killed run."""
    with clone(project.folder) as workspace:
        assert recover_looks(workspace) == []
        found = ledger.counted(workspace / LEDGER, ledger.Key("split", "model", "calibration"))
    return found.opened if found else 0


def test_look_of_a_run_that_could_not_commit_it_counts(project: Project) -> None:
    with clone(project.folder) as workspace:
        ledger.record(workspace / LEDGER, ledger.Key("split", "model", "calibration"), 20)
    assert _opened(project) == 1


def test_damaged_ledger_of_a_killed_run_stops_no_other_and_stays(project: Project) -> None:
    left = project.folder / RUNS / "run-killed"
    write_text(left / LEDGER, (project.folder / LEDGER).read_text() + "2026-01-01T00:00:00+00:00,split,mo")
    for _ in range(2):
        with clone(project.folder) as workspace:
            assert not left.exists()
            [damaged] = recover_looks(workspace)
            assert damaged.read_text().endswith("split,mo")
            assert (workspace / LEDGER).read_text() == (project.folder / LEDGER).read_text()
