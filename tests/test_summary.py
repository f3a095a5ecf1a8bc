"""The headline of a run."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from pipeline import summary
from pipeline.errors import DataError
from pipeline.files import write_json
from tests import compiled
from tests.pretrained import card

FIGURE = {"value": 0.9123, "low": 0.8, "high": 0.951}
METRICS: dict[str, Any] = {
    "finetuned": {"auroc": FIGURE},
    "probe": {"auroc": {"value": 0.85, "low": 0.7, "high": 0.9}},
    "scratch": {"auroc": {"value": None, "low": None, "high": None}},
    "operating_point": {"threshold": 0.41, "sensitivity": FIGURE, "specificity": FIGURE},
    "calibration": {"brier": FIGURE},
    "transfer": {"verdict": "positive", "difference": 0.1, "low": 0.02, "high": 0.2},
    "test": {"patients": 50, "units": 52, "positives": 25},
}
CRITERIA = [{"metric": "finetuned.auroc.low", "passed": True}, {"metric": "calibration.brier", "passed": True}]
MANIFEST = {
    "schema_version": 2,
    "name": "demo",
    "version": "0.1.0",
    "task": {
        "source": "ImageNet",
        "target": "lesion",
        "source_domain": "photographs",
        "target_domain": "MRI",
        "label_level": "series",
        "kind": "binary",
        "classes": ["no", "yes"],
    },
    "selection": {"modality": "MR", "contrasts": ["FLAIR"], "min_slices": 8},
    "transform": {"size": 128, "window_percentiles": [0.5, 99.5], "head_margin_mm": 6.0},
    "graph": {
        "file": "model.onnx",
        "sha256": "0" * 64,
        "opset": 20,
        "inputs": ["slices", "membership"],
        "outputs": ["probabilities", "logits", "slice_scores", "embedding", "saliency"],
        "pooling": "mean",
        "usual_slices": 20,
        "most_slices": 512,
        "variants": [],
    },
    "runs": {"runtime": "onnxruntime", "precision": "fp32"},
    "trunk": {"file": "trunk.safetensors", "sha256": "0" * 64},
    "calibration": {"temperature": 1.0, "threshold": 0.4, "rule": "youden", "model_sha256": "0", "split_sha256": "0"},
    "backbone": card(),
    "data": {},
    "validation": {},
    "made_from": compiled.provenance().model_dump(),
    "cases": {"sha256": "4" * 64, "tolerance": 1e-3, "band": 0.02},
    "engines": [compiled.engine(Path(__file__)).model_dump()],
    "signature": "UNSIGNED",
}


@pytest.fixture
def project(tmp_path: Path) -> Path:
    write_json(tmp_path / "reports/metrics.json", METRICS)
    write_json(tmp_path / "reports/acceptance.json", {"criteria": CRITERIA})
    write_json(tmp_path / "models/release/manifest.json", MANIFEST)
    return tmp_path


def test_figures_come_with_their_intervals(project: Path) -> None:
    rows = dict(summary.rows(project))
    assert rows["AUROC, fine-tuned"] == "0.912 (0.800 to 0.951)"
    assert rows["transfer"] == "positive: AUROC +0.100 (+0.020 to +0.200) against scratch"
    assert rows["accepted"] == "yes, every criterion met"
    assert rows["engine"] == "tensorrt_rtx for 8.6 in fp32, built, not run"
    assert rows["signature"] == "UNSIGNED"


def test_undefined_figure_says_so(project: Path) -> None:
    assert dict(summary.rows(project))["AUROC, from scratch, no transfer"] == "undefined"


def test_undefined_verdict_says_so(project: Path) -> None:
    metrics = copy.deepcopy(METRICS)
    metrics["transfer"] = {"verdict": None, "difference": None, "low": None, "high": None, "reason": "only one class"}
    write_json(project / "reports/metrics.json", metrics)
    assert dict(summary.rows(project))["transfer"] == "undefined: only one class"


def test_several_classes_are_counted_and_have_their_thresholds(project: Path) -> None:
    metrics = copy.deepcopy(METRICS)
    metrics["test"] = {"patients": 50, "units": 52, "classes": {"bleed": 20, "mass": 9}}
    metrics["operating_point"]["threshold"] = {"bleed": 0.25, "mass": 0.5}
    write_json(project / "reports/metrics.json", metrics)
    rows = dict(summary.rows(project))
    assert rows["test side"] == "50 patients, 52 units, 20 with bleed, 9 with mass"
    assert (rows["threshold, bleed"], rows["threshold, mass"]) == ("0.250", "0.500")
    del metrics["operating_point"]["threshold"]
    write_json(project / "reports/metrics.json", metrics)
    assert [name for name, _ in summary.rows(project) if "threshold" in name] == []


def test_missed_criterion_is_named_and_an_earlier_release_is_not_shown_as_this_models(project: Path) -> None:
    missed = {"criteria": [CRITERIA[0], CRITERIA[1] | {"passed": False}]}
    write_json(project / "reports/acceptance.json", missed)
    rows = dict(summary.rows(project))
    assert rows["accepted"] == "NO, missed: calibration.brier"
    assert rows["release"] == "none"
    assert "Release: not there" in _shown(project)


def test_waived_criterion_is_named_and_the_release_is_shown(project: Path) -> None:
    waived = {"passed": False, "waived": True, "waiver": {"by": "Dr. Ada Example", "reason": "for a comparison"}}
    write_json(project / "reports/acceptance.json", {"criteria": [CRITERIA[0], CRITERIA[1] | waived]})
    rows = dict(summary.rows(project))
    assert rows["accepted"] == "yes, but calibration.brier missed, waived by Dr. Ada Example"
    assert rows["signature"] == "UNSIGNED"


def test_smaller_budget_of_the_control_is_said(project: Path) -> None:
    metrics = copy.deepcopy(METRICS)
    metrics["transfer"]["budget"] = {"control_had_less": True}
    write_json(project / "reports/metrics.json", metrics)
    assert dict(summary.rows(project))["transfer"].endswith("against scratch; the control took less work")


def test_places_of_report_and_release_are_printed_whole(project: Path) -> None:
    (project / "reports/report.html").touch()
    shown = _shown(project).splitlines()
    assert f"Report: {project}/reports/report.html" in shown
    assert f"Release: {project}/models/release" in shown


def test_markdown_holds_every_row(project: Path) -> None:
    lines = summary.markdown(project).splitlines()
    assert len(lines) == 2 + len(summary.rows(project))
    assert "| accepted | yes, every criterion met |" in lines


def test_without_metrics_the_remedy_is_named(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="Run `dvc repro` in the project's folder first"):
        summary.rows(tmp_path)


def _shown(project: Path) -> str:
    console = Console(width=60)
    with console.capture() as captured:
        summary.show(project, console)
    return captured.get()
