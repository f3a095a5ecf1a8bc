"""Somebody else's scans, labelled slice by slice: the same commands end in a release that answers for each slice."""

from __future__ import annotations

import csv
import io
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from pipeline import contract
from pipeline.files import read_csv
from tests.benchmarks.lgg import of_scans

pytestmark = pytest.mark.acceptance


@pytest.fixture(scope="module")
def own(clone: Any, shared: Path, tmp_path_factory: pytest.TempPathFactory) -> Any:
    """The clone with ten patients of The Cancer Genome Atlas outside it, after `dvc repro`."""
    folder = tmp_path_factory.mktemp("own")
    project = clone.copy(folder)
    wrap = shared / "tools/lgg_to_dicom.py"
    project.run(sys.executable, str(wrap), str(shared / "data/lgg_flair"), str(folder / "lgg"), "--patients", "10")
    project.set(*of_scans(folder / "lgg"), "finetune.phases.0.epochs=1")
    project.run("dvc", "repro")
    return project


def test_labels_by_slice_end_in_a_release_for_slices(own: Any) -> None:
    manifest = contract.load(own.folder / "models/release")
    assert manifest.task.label_level == "slice"


def test_release_answers_for_every_slice(own: Any) -> None:
    lgg = own.folder.parent / "lgg"
    said = own.run("python", "-m", "pipeline.inference", "models/release", str(lgg / "dicom"))
    rows = list(csv.DictReader(io.StringIO(said[said.index("StudyInstanceUID,") :])))
    slices = sorted(row["SOPInstanceUID"] for row in read_csv(lgg / "labels.csv"))
    assert len(slices) > 200
    assert sorted(row["SOPInstanceUID"] for row in rows) == slices
    assert {row["status"] for row in rows} == {"ok"}


def test_a_slice_counts_with_its_neighbours_on_the_box_as_in_validation(own: Any) -> None:
    manifest, lgg = contract.load(own.folder / "models/release"), own.folder.parent / "lgg"
    assert manifest.calibration.neighbours_sd == 1.0
    said = own.run("python", "-m", "pipeline.inference", "models/release", str(lgg / "dicom"), "--precision", "fp32")
    rows = csv.DictReader(io.StringIO(said[said.index("StudyInstanceUID,") :]))
    box = np.array([float(row["probability"]) for row in rows])
    validated = np.array([float(row["probability"]) for row in read_csv(own.folder / "reports/predictions.csv")])
    assert np.ptp(validated) > 0.01
    assert np.abs(validated[:, None] - box).min(axis=1).max() < 1e-4
