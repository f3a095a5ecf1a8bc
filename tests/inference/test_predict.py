"""From probabilities to rows: places, threshold, values that are no numbers, and too many slices."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from pipeline.dicom.reasons import Rejection
from pipeline.dicom.scan import Scan
from pipeline.imaging.volume import Volume
from pipeline.inference.answers import Answers, Floats, Slices
from pipeline.inference.predict import Prediction, cells, columns, predict
from pipeline.inference.release import Release, open_release
from pipeline.targets import Targets
from tests.inference.conftest import MOST

FRAMES = [("1.2.9", 3), ("1.2.9", 1), ("1.2.9", 2)]


@pytest.fixture
def scan() -> Scan:
    """An enhanced multi-frame series of three slices, whose frames are not stored in their order."""
    voxels = np.random.default_rng(1).random((3, 64, 64), dtype=np.float32)
    keys: list[tuple[str, int | None]] = list(FRAMES)
    return Scan(
        Volume(voxels, np.eye(4)),
        patient_id="P",
        study_uid="1.2",
        series_uid="1.2.3",
        slice_keys=keys,
        manufacturer="",
        field_strength_t=None,
        contrast="?",
        sex="",
        age_years=None,
    )


def answering(release: Path, probabilities: list[Any]) -> Release:
    """The release with a graph that gives these probabilities of slices, and their means of units."""
    each = np.array(probabilities, np.float32).reshape(len(probabilities), -1)

    def run(slices: Slices, membership: Floats) -> Answers:
        assert membership.shape[1] == len(slices)
        of_units = membership @ np.resize(each, (len(slices), each.shape[1])) / membership.sum(1, keepdims=True)
        return Answers(of_units, of_units, each, of_units)

    return replace(open_release(release), backend=SimpleNamespace(run=run))  # type: ignore[arg-type]


def test_a_slice_of_an_enhanced_file_is_named_by_its_frame(make_release, scan: Scan, tmp_path: Path) -> None:
    release = answering(make_release(tmp_path / "release", "slice"), [0.75, 0.5, 0.25])
    found = list(predict(release, [scan]))
    assert [(row.SOPInstanceUID, row.FrameNumber) for row in found] == FRAMES
    assert [row.probabilities for row in found] == [(0.75,), (0.5,), (0.25,)]
    assert [row.decision for row in found] == ["1", "1", "0"], "positive at the threshold, which is 0.5, and above"


def test_volumes_of_one_series_have_one_answer_and_the_refused_part_none(make_release, scan, tmp_path: Path) -> None:
    release = answering(make_release(tmp_path / "release", "series"), [0.25, 0.5, 0.75])
    other = replace(scan, series_uid="1.2.4")
    part = Rejection("1.2.3", "not_magnitude", part=True)
    found = list(predict(release, [part, scan, replace(scan, volume_number=2), other, Rejection("1.2.5", "derived")]))
    assert [(row.SeriesInstanceUID, row.status) for row in found] == [
        ("1.2.3", "ok"),
        ("1.2.5", "derived"),
        ("1.2.4", "ok"),
    ]


def test_a_unit_of_more_slices_than_the_contract_has_is_said(make_release, scan: Scan, tmp_path: Path) -> None:
    release = answering(make_release(tmp_path / "release", "series"), [0.25])
    volumes = [replace(scan, volume_number=number) for number in range(MOST // len(FRAMES) + 1)]
    (row,) = predict(release, volumes)
    assert (row.SeriesInstanceUID, row.status, row.probabilities) == ("1.2.3", "too_many_slices", ())
    assert f"{3 * len(volumes)} slices, and the release was made for {MOST} at most" in row.message


@pytest.mark.parametrize("level", ["slice", "series", "study", "patient"])
def test_what_is_no_number_gives_no_answer(level: str, make_release, scan: Scan, tmp_path: Path) -> None:
    release = answering(make_release(tmp_path / "release", level), [1.0, float("nan"), 0.0])
    (row,) = predict(release, [scan])
    assert (row.StudyInstanceUID, row.status, row.probabilities, row.decision) == ("1.2", "not_finite", (), "")
    assert row.SeriesInstanceUID == ("1.2.3" if level in ("slice", "series") else "")


def of_classes(release: Release, kind: Any, threshold: Any) -> Release:
    """The release with a task of three classes."""
    targets = Targets(kind, ("low", "mid", "high"))
    task = release.manifest.task.model_copy(update={"kind": kind, "classes": list(targets.classes)})
    fixed = release.manifest.calibration.model_copy(update={"threshold": threshold})
    return replace(
        release, targets=targets, manifest=release.manifest.model_copy(update={"task": task, "calibration": fixed})
    )


def test_the_most_probable_of_several_classes_is_the_decision(make_release, scan: Scan, tmp_path: Path) -> None:
    given = [[0.5, 0.25, 0.25], [0.0, 1.0, 0.0], [0.25, 0.25, 0.5]]
    release = of_classes(answering(make_release(tmp_path / "release"), given), "multiclass", None)
    (row,) = predict(release, [scan])
    assert row.probabilities == pytest.approx((0.25, 0.5, 0.25))
    assert row.decision == "mid"
    assert columns(release.targets)[4:8] == ["probability_low", "probability_mid", "probability_high", "decision"]
    assert cells(row, release.targets) == ["1.2", "1.2.3", "", "", *row.probabilities, "mid", "ok", ""]
    assert cells(Prediction(status="derived"), release.targets) == [*[""] * 8, "derived", ""]


def test_each_of_several_labels_has_its_own_threshold(make_release, scan, tmp_path: Path) -> None:
    given = [[0.5, 0.6, 0.75], [0.5, 0.7, 0.25], [0.1, 0.2, 0.3]]
    made = answering(make_release(tmp_path / "release", "slice"), given)
    found = list(predict(of_classes(made, "multilabel", [0.5, 0.7, 0.5]), [scan]))
    assert [row.decision for row in found] == ["low;high", "low;mid", ""]
