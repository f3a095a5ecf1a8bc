"""The whole DAG in a clone: from nothing to a release, then nothing to do, and what may go wrong on the way."""

from __future__ import annotations

import os
import re
import signal
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from pipeline import contract
from pipeline.dicom.pseudonym import PUBLIC_DEMO_KEY, Pseudonyms
from pipeline.files import read_csv, read_json, sha256_file
from pipeline.fingerprint import NOT_RUN, PASSED
from tests.waiting import within

pytestmark = pytest.mark.acceptance

STAGES = (
    "demo ingest split prepare backbone features finetune scratch calibrate export validate accept compile reference "
    "release"
)


def test_demo_ends_in_a_release(built: Any) -> None:
    release = built.folder / "models/release"
    manifest = contract.load(release)
    assert {"manifest.json", "model.onnx", "model_card.md", "parity.npz", "reference.npz", "SHA256SUMS"} <= {
        path.name for path in release.iterdir()
    }
    assert manifest.signature == "UNSIGNED"
    assert manifest.task.source == "image classification by resnet18 (embedded: ImageNet subset, 200 classes, 64x64)"
    assert manifest.task.target == "MRI classification, one label a series"
    assert manifest.task.source_domain.startswith("natural photographs (ImageNet subset")
    assert manifest.task.target_domain == "MRI, FLAIR"
    assert [engine.status for engine in manifest.engines] in ([NOT_RUN], [PASSED])
    sums = dict(reversed(line.split("  ", 1)) for line in (release / "SHA256SUMS").read_text().splitlines())
    assert sums["model.onnx"] == sha256_file(release / "model.onnx") == manifest.graph.sha256
    assert (built.folder / "reports/report.html").stat().st_size > 10_000
    assert read_json(built.folder / "reports/metrics.json")["test"]["patients"] >= 6


def test_second_repro_runs_nothing(built: Any) -> None:
    said = built.run("dvc", "repro")
    skipped = re.findall(r"Stage '(?:.*:)?(\w+)' didn't change, skipping", said)
    assert sorted(skipped) == sorted(STAGES.split())
    assert "Running stage" not in said
    assert said.endswith("Data and pipelines are up to date.\n")


def test_dvc_shows_the_dag_the_metrics_and_the_plots(built: Any) -> None:
    drawn = built.run("dvc", "dag")
    assert [stage for stage in STAGES.split() if stage not in drawn] == []
    shown = built.run("dvc", "metrics", "show", "--json")
    assert '"auroc"' in shown
    page = built.run("dvc", "plots", "show").strip().splitlines()[-1].removeprefix("file://")
    html = Path(page).read_text()
    assert [title for title in ("ROC", "AUROC by epoch", "AUROC by trunk work") if title not in html] == []


def test_headline_is_printed(built: Any) -> None:
    said = built.run("python", "-m", "pipeline.summary")
    assert "AUROC, fine-tuned" in said
    assert f"Release: {built.folder}/models/release" in said


def test_release_predicts_from_dicom_where_there_is_no_torch(built: Any, tmp_path: Path) -> None:
    code = (
        "import runpy, sys; sys.modules['torch'] = None; "
        "runpy.run_module('pipeline.inference', run_name='__main__', alter_sys=True)"
    )
    out = tmp_path / "predictions.csv"
    built.run("python", "-c", code, "models/release", "data/demo/dicom", "--out", str(out), "--precision", "fp32")
    rows, series = [row for row in read_csv(out) if row["probability"]], Pseudonyms(PUBLIC_DEMO_KEY).series
    assert len(rows) == len(read_csv(built.folder / "data/ingested/index.csv"))
    box = {series(row["SeriesInstanceUID"]): float(row["probability"]) for row in rows}
    tested = read_csv(built.folder / "reports/predictions.csv")
    validated = np.array([float(row["probability"]) for row in tested])
    assert np.ptp(validated) > 0.001
    assert np.abs(validated - [box[row["unit"]] for row in tested]).max() < 1e-4


def test_studies_of_a_box_are_watched_against_the_release(built: Any, tmp_path: Path) -> None:
    for shift, status in (("none", 0), ("field strength", 3)):
        folder = str(tmp_path / shift)
        options = ["--studies", "400", "--after", "200", "--shift", shift]
        built.run("python", "-m", "pipeline.monitoring.simulate", "models/release", folder, *options)
        said = built.run("python", "-m", "pipeline.monitoring", "models/release", folder, status=status)
        assert said.startswith("# Drift" if status else "# No drift")


def test_mistyped_key_is_named_with_the_nearest(built: Any, tmp_path: Path) -> None:
    project = built.copy(tmp_path)
    path = project.folder / "params.yaml"
    path.write_text(path.read_text().replace("  min_slices:", "  min_slice:"))
    said = project.run("dvc", "repro", status=255)
    assert "unknown key 'ingest.min_slice'. Did you mean 'min_slices'?" in said
    assert read_json(project.folder / ".stage-errors/ingest.json")["class"] == "ConfigError"


def test_missed_criterion_is_named_and_nothing_after_accept_runs(built: Any, tmp_path: Path) -> None:
    project = built.copy(tmp_path)
    project.set("accept=[{metric: calibration.brier.value, max: 0.0}]")
    said = project.run("dvc", "repro", status=255)
    assert "AcceptanceError: expected calibration.brier.value at most 0" in said
    assert "Running stage 'compile'" not in said
    assert "NO, missed: calibration.brier.value" in project.run("python", "-m", "pipeline.summary")


def test_killed_training_resumes_at_its_last_checkpoint(built: Any, tmp_path: Path) -> None:
    project = _with_a_long_training(built, tmp_path)
    with _until(project, tmp_path / "log", r"finetuned: all 3/") as (dvc, stage):
        os.kill(stage, signal.SIGKILL)
        assert dvc.wait(60) == 255
    done = int(re.findall(r"finetuned: all (\d+)/", (tmp_path / "log").read_text())[-1])
    with _until(project, tmp_path / "again", r"finetuned: resuming at phase all, epoch \d+"):
        again = re.findall(r"resuming at phase all, epoch (\d+)", (tmp_path / "again").read_text())
    assert int(again[0]) in {done + 1, done + 2}  # the kill may fall between a checkpoint and its line


def test_stage_ends_when_dvc_is_killed(built: Any, tmp_path: Path) -> None:
    project = _with_a_long_training(built, tmp_path)
    with _until(project, tmp_path / "log", r"finetuned: all 1/") as (dvc, stage):
        dvc.kill()
        dvc.wait()
        assert within(15, lambda: stage not in _running(project))


def _with_a_long_training(built: Any, folder: Path) -> Any:
    """A copy in which fine-tuning has many epochs ahead."""
    project = built.copy(folder)
    project.set("finetune.patience=500", "finetune.phases.1.epochs=500", "finetune.phases.1.learning_rate=0.0015")
    return project


@contextmanager
def _until(project: Any, log: Path, pattern: str) -> Iterator[tuple[subprocess.Popen[bytes], int]]:
    """`dvc repro finetune` up to a line, and its stage's process id; both have ended when the context is left."""
    dvc = project.start("dvc", "repro", "finetune", log=log)
    try:
        assert within(120, lambda: re.search(pattern, log.read_text()) is not None), log.read_text()
        stages = _running(project)
        assert len(stages) == 1, stages
        yield dvc, stages[0]
    finally:
        dvc.kill()
        dvc.wait()
        for stage in _running(project):
            with suppress(ProcessLookupError):
                os.kill(stage, signal.SIGKILL)


def _running(project: Any) -> list[int]:
    """Process ids of stages in this project."""
    found = []
    for process in Path("/proc").glob("[0-9]*"):
        with suppress(OSError):
            words = (process / "cmdline").read_bytes().split(b"\0")
            if words[1:3] == [b"-m", b"pipeline.stages.finetune"] and (process / "cwd").readlink() == project.folder:
                found.append(int(process.name))
    return found
