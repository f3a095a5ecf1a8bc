"""Labels of several classes: the same commands end in a release that gives each class its probability."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pydicom
import pytest

from pipeline import contract
from pipeline.files import read_csv, read_json, write_csv

# In short: tests/stages/test_several_classes.py.
pytestmark = [pytest.mark.acceptance, pytest.mark.long]

CLASSES = {"multiclass": ["healthy", "lesion", "not FLAIR"], "multilabel": ["not FLAIR", "lesion"]}


@pytest.fixture(scope="module", params=list(CLASSES))
def several(built: Any, cut: list[str], request: Any, tmp_path_factory: pytest.TempPathFactory) -> Any:
    """The demo with other labels, after `dvc repro`: whether a series is FLAIR, and whether there is a lesion."""
    kind = request.param
    project = built.copy(tmp_path_factory.mktemp(kind))
    flair = _flair(project.folder / "data/demo/dicom")
    rows = read_csv(project.folder / "data/demo/labels.csv")
    write_csv(project.folder / "labels.csv", rows[0], [row | {"label": _label(row, flair, kind)} for row in rows])
    project.set(
        "data.labels=labels.csv",
        "data.source=The embedded demo, labelled anew by contrast",
        "data.licence=That of the MNI152 template",
        f"data.task={kind}",
        f"data.classes={CLASSES[kind]}",
        "ingest.contrasts=null",
        "split.train=0.4",
        "split.val=0.3",
        f"finetune.pooling={'attention' if kind == 'multilabel' else 'mean'}",
    )
    project.run(*cut, "dvc", "repro")
    return project


def _flair(folder: Path) -> set[str]:
    """SeriesInstanceUID of what is FLAIR."""
    headers = (pydicom.dcmread(path, stop_before_pixels=True) for path in folder.glob("*.dcm"))
    return {header.SeriesInstanceUID for header in headers if "FLAIR" in header.SeriesDescription}


def _label(row: dict[str, str], flair: set[str], kind: str) -> str:
    other, ill = row["SeriesInstanceUID"] not in flair, row["label"] == "1"
    if kind == "multiclass":
        return "not FLAIR" if other else "lesion" if ill else "healthy"
    return ";".join(["lesion"] * ill + ["not FLAIR"] * other)


def test_the_figures_are_of_each_class_and_of_their_mean(several: Any) -> None:
    task = contract.load(several.folder / "models/release").task
    assert task.classes == CLASSES[task.kind]
    found = read_json(several.folder / "reports/metrics.json")
    areas = [figures["auroc"]["value"] for figures in found["finetuned"]["classes"].values()]
    assert found["finetuned"]["auroc"]["value"] == pytest.approx(sum(areas) / len(areas), abs=1e-5)
    # A few steps suffice to tell contrasts apart.
    assert found["finetuned"]["classes"]["not FLAIR"]["auroc"]["value"] > 0.8
    assert (several.folder / "reports/report.html").stat().st_size > 10_000
    assert "AUROC, fine-tuned" in several.run("python", "-m", "pipeline.summary")


def test_a_box_gives_each_class_its_probability(several: Any, tmp_path: Path) -> None:
    out = tmp_path / "predictions.csv"
    several.run("python", "-m", "pipeline.inference", "models/release", "data/demo/dicom", "--out", str(out))
    task = contract.load(several.folder / "models/release").task
    rows = [row for row in read_csv(out) if row["status"] == "ok"]
    assert len(rows) == len(read_csv(several.folder / "data/ingested/index.csv"))
    for row in rows:
        probabilities = [float(row[f"probability_{name}"]) for name in task.classes]
        assert all(0 <= probability <= 1 for probability in probabilities)
        called = row["decision"].split(";") if row["decision"] else []
        assert set(called) <= set(task.classes)
        if task.kind == "multiclass":
            assert sum(probabilities) == pytest.approx(1)
            assert called == [max(zip(probabilities, task.classes, strict=True))[1]]
    assert len({row["decision"] for row in rows}) > 1


def test_second_repro_runs_nothing(several: Any) -> None:
    assert "Running stage" not in several.run("dvc", "repro")
