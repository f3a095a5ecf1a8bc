"""From logits to rows: places, threshold, and values that are no numbers."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from scipy.special import expit, softmax

from pipeline.calibrator import Knots
from pipeline.dicom.reasons import Rejection
from pipeline.dicom.scan import Scan
from pipeline.imaging.volume import Volume
from pipeline.inference.predict import Prediction, cells, columns, predict
from pipeline.inference.release import Release, open_release
from pipeline.targets import Targets

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
        source_sha256="",
    )


def answering(release: Path, logits: list[Any]) -> Release:
    """The release with a network that gives these logits."""
    backend = SimpleNamespace(rows=lambda slices: np.array(logits, np.float32).reshape(len(logits), -1))
    return replace(open_release(release), backend=backend)  # type: ignore[arg-type]


def test_a_slice_of_an_enhanced_file_is_named_by_its_frame(make_release, scan: Scan, tmp_path: Path) -> None:
    release = answering(make_release(tmp_path / "release", "slice"), [1.7, 0.0, -1.7])
    found = list(predict(release, [scan]))
    assert [(row.SOPInstanceUID, row.FrameNumber) for row in found] == FRAMES
    assert [row.probabilities for row in found] == [pytest.approx((expit(x),)) for x in (1.0, 0.0, -1.0)]
    assert [row.decision for row in found] == ["1", "1", "0"], "positive at the threshold, which is 0.5, and above"


def test_volumes_of_one_series_have_one_answer_and_the_refused_part_none(make_release, scan, tmp_path: Path) -> None:
    release = answering(make_release(tmp_path / "release", "series"), [1.0, 2.0, 3.0])
    other = replace(scan, series_uid="1.2.4")
    part = Rejection("1.2.3", "not_magnitude", part=True)
    found = list(predict(release, [part, scan, replace(scan, volume_number=2), other, Rejection("1.2.5", "derived")]))
    assert [(row.SeriesInstanceUID, row.status) for row in found] == [
        ("1.2.3", "ok"),
        ("1.2.5", "derived"),
        ("1.2.4", "ok"),
    ]


def test_extreme_logits_do_not_overflow(make_release, scan: Scan, tmp_path: Path) -> None:
    release = answering(make_release(tmp_path / "release", "slice"), [1e30, -1e30, 0.0])
    assert [row.probabilities for row in predict(release, [scan])] == [(1.0,), (0.0,), (0.5,)]


@pytest.mark.parametrize("level", ["slice", "series", "study", "patient"])
def test_a_logit_that_is_no_number_gives_no_answer(level: str, make_release, scan: Scan, tmp_path: Path) -> None:
    release = answering(make_release(tmp_path / "release", level), [1.0, float("nan"), 0.0])
    (row,) = predict(release, [scan])
    assert (row.SeriesInstanceUID, row.status, row.probabilities, row.decision) == ("1.2.3", "not_finite", (), "")


def of_classes(release: Release, kind: Any, temperature: Any, threshold: Any) -> Release:
    """The release with a task of three classes."""
    targets = Targets(kind, ("low", "mid", "high"))
    task = release.manifest.task.model_copy(update={"kind": kind, "classes": list(targets.classes)})
    fixed = release.manifest.calibration.model_copy(update={"temperature": temperature, "threshold": threshold})
    return replace(
        release, targets=targets, manifest=release.manifest.model_copy(update={"task": task, "calibration": fixed})
    )


def test_the_most_probable_of_several_classes_is_the_decision(make_release, scan: Scan, tmp_path: Path) -> None:
    logits = [[2.0, 1.0, 0.0], [0.0, 4.0, 1.0], [0.0, 0.0, 3.0]]
    release = of_classes(answering(make_release(tmp_path / "release"), logits), "multiclass", 2.0, None)
    (row,) = predict(release, [scan])
    expected = softmax(np.mean(logits, axis=0) / 2)
    assert row.probabilities == pytest.approx(tuple(expected))
    assert row.decision == "mid"
    assert columns(release.targets)[4:8] == ["probability_low", "probability_mid", "probability_high", "decision"]
    assert cells(row, release.targets) == ["1.2", "1.2.3", "", "", *row.probabilities, "mid", "ok", ""]
    assert cells(Prediction(status="derived"), release.targets) == [*[""] * 8, "derived", ""]


def test_each_of_several_labels_has_its_own_temperature_and_threshold(make_release, scan, tmp_path: Path) -> None:
    logits = [[1.0, 1.0, 1.0], [1.0, -9.0, 1.0], [-9.0, -9.0, -9.0]]
    fixed = ([1.0, 2.0, 4.0], [0.5, 0.7, 0.5])
    release = of_classes(answering(make_release(tmp_path / "release", "slice"), logits), "multilabel", *fixed)
    found = list(predict(release, [scan]))
    assert found[0].probabilities == pytest.approx(tuple(expit([1.0, 0.5, 0.25])))
    assert [row.decision for row in found] == ["low;high", "low;high", ""]


def test_an_isotonic_calibrator_is_carried_out_by_its_knots(make_release, scan, tmp_path: Path) -> None:
    release = answering(make_release(tmp_path / "release", "slice"), [-5.0, 0.0, 5.0])
    knots = Knots(logits=[-1.0, 1.0], probabilities=[0.2, 0.6])
    fixed = release.manifest.calibration.model_copy(update={"temperature": 1.0, "knots": [knots], "threshold": 0.4})
    manifest = release.manifest.model_copy(update={"calibration": fixed})
    found = list(predict(replace(release, manifest=manifest), [scan]))
    assert [row.probabilities[0] for row in found] == pytest.approx([0.2, 0.4, 0.6])
    assert [row.decision for row in found] == ["0", "1", "1"]
