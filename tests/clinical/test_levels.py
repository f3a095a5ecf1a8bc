"""Figures of series, studies and patients, from those of their slices."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from sklearn.metrics import roc_auc_score

from pipeline import config
from pipeline.clinical import levels
from pipeline.clinical.units import Units, units_of
from pipeline.contract import Calibration
from pipeline.targets import BINARY, Targets


@pytest.fixture
def settings(root: Path) -> config.Validate:
    return config.load(root / "params.yaml").validate_.model_copy(update={"bootstrap": 200})


def calibration(threshold: Any) -> Calibration:
    return Calibration(temperature=1.0, threshold=threshold, rule="", model_sha256="", split_sha256="")


def rows() -> tuple[list[dict[str, str]], list[dict[str, str]]]:
    """Two slices of two volumes of one series, in each of two studies of six patients."""
    index, slices = [], []
    for patient in range(6):
        for study in range(2):
            series = f"S-{patient}{study}"
            for volume in (1, 2):
                index.append({"series": f"{series}-v{volume}", "study": f"E-{patient}{study}"})
                slices += [
                    {
                        "series": f"{series}-v{volume}",
                        "patient": f"P-{patient}",
                        "slice_index": str(k),
                        "unit": f"{series}-v{volume}-{k}",
                        "label": str(int(patient < 3 and study == 0 and k == 0)),
                        "split": "test",
                    }
                    for k in range(2)
                ]
    return slices, index


def test_slices_make_series_studies_and_patients() -> None:
    slices, index = rows()
    units = units_of(slices, "test")
    found = levels.coarser(slices, index, units, "slice")
    assert {level: len(set(names)) for level, names in found.items()} == {"series": 12, "study": 12, "patient": 6}
    assert found["series"][:4] == ["S-00"] * 4
    assert found["study"][4] == "E-01"


def test_a_level_that_joins_nothing_or_is_not_known_is_left_out() -> None:
    slices, index = rows()
    once = [row | {"unit": row["patient"]} for row in slices]
    assert levels.coarser(once, index, units_of(once, "test"), "patient") == {}
    assert levels.coarser(once, index, units_of(once, "test"), "study") == {}
    nameless = [{"series": row["series"]} for row in index]
    assert list(levels.coarser(slices, nameless, units_of(slices, "test"), "slice")) == ["series", "patient"]


@pytest.mark.parametrize("aggregate", ["max", "mean"])
def test_the_whole_is_positive_if_a_part_is_and_scores_what_is_said(settings: config.Validate, aggregate: Any) -> None:
    slices, index = rows()
    units = units_of(slices, "test")
    chances = np.random.default_rng(1).random((len(units.ids), 1))
    parts = levels.coarser(slices, index, units, "slice")
    asked = settings.model_copy(update={"aggregate": aggregate})
    found = levels.figures(units, chances, calibration(0.7), parts, asked, BINARY)
    by_patient = chances.reshape(6, 8)
    scores = by_patient.max(axis=1) if aggregate == "max" else by_patient.mean(axis=1)
    labels = np.array([1, 1, 1, 0, 0, 0])
    patient = found["patient"]
    assert patient["auroc"]["value"] == pytest.approx(roc_auc_score(labels, scores), abs=1e-6)
    assert patient["sensitivity"]["value"] == pytest.approx((scores[:3] >= 0.7).mean(), abs=1e-6)
    assert patient["specificity"]["value"] == pytest.approx((scores[3:] < 0.7).mean(), abs=1e-6)
    assert (patient["units"], patient["positives"]) == (6, 3)
    assert aggregate.replace("max", "largest") in patient["aggregation"]
    assert found["series"]["units"] == 12


def test_several_findings_are_joined_each_by_itself_and_exclusive_classes_not_at_all(
    settings: config.Validate,
) -> None:
    labels = np.array([[1, 0], [0, 1], [0, 0], [0, 0], [1, 0], [0, 0], [0, 1], [0, 0]])
    units = Units([f"u{i}" for i in range(8)], [f"p{i // 2}" for i in range(8)], labels, np.arange(8), [])
    chances = np.random.default_rng(0).random((8, 2))
    parts, names = {"patient": units.patients}, ("a", "b")
    joined = levels.figures(units, chances, calibration([0.5, 0.5]), parts, settings, Targets("multilabel", names))
    expected = roc_auc_score([[1, 1], [0, 0], [1, 0], [0, 1]], chances.reshape(4, 2, 2).max(axis=1), average="macro")
    assert joined["patient"]["auroc"]["value"] == pytest.approx(expected, abs=1e-6)
    assert joined["patient"]["positives"] == [2, 2]
    apart = levels.figures(units, chances, calibration(None), parts, settings, Targets("multiclass", names))
    assert "no single one" in apart["patient"]["reason"]
