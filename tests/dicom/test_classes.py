"""Labels of several classes: names in a CSV to places in data.classes, and what is refused."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from pipeline.dicom import labels
from pipeline.errors import LabelError
from pipeline.targets import Targets

GRADES = Targets("multiclass", ("low", "mid grade", "high"))
FINDINGS = Targets("multilabel", ("bleed", "mass", "shift"))

Encoded = Callable[[Targets, str], list[str]]


@pytest.fixture
def encoded(tmp_path: Path) -> Encoded:
    def read(targets: Targets, cells: str) -> list[str]:
        path = tmp_path / "labels.csv"
        rows = [f"Doe^{number},{cell}\n" for number, cell in enumerate(cells.split("|"))]
        path.write_text("".join(["PatientID,label\n", *rows]))
        found = labels.read(path, "patient", None, targets)
        return [found._labels[f"Doe^{number}", None].label for number in range(len(rows))]

    return read


def test_a_name_becomes_the_place_of_its_class(encoded: Encoded) -> None:
    assert encoded(GRADES, "high|low| mid grade |high") == ["2", "0", "1", "2"]


def test_names_become_rising_places_and_an_empty_cell_none(encoded: Encoded) -> None:
    assert encoded(FINDINGS, "shift; bleed||mass|bleed;shift;|bleed;bleed") == ["0;2", "", "1", "0;2", "0"]


def test_the_order_of_names_is_no_contradiction(tmp_path: Path) -> None:
    path = tmp_path / "labels.csv"
    path.write_text("PatientID,label\np1,mass;bleed\np1,bleed;mass\np2,shift\np3,\n")
    assert len(labels.read(path, "patient", None, FINDINGS)) == 3
    path.write_text("PatientID,label\np1,mass;bleed\np1,bleed\np2,shift\np3,\n")
    with pytest.raises(LabelError, match="lines 2 and 3 contradict each other"):
        labels.read(path, "patient", None, FINDINGS)


@pytest.mark.parametrize(
    ("targets", "cells", "message"),
    [
        (GRADES, "low|hihg|mid grade|high", "low, mid grade, high, in .*another one in line 3.*nearest.*'high'"),
        (GRADES, "low|Roe^Jane|mid grade|high", "another one in line 3"),
        (GRADES, "low|low;high|mid grade", r"line 3; the nearest.*\(several names are a multilabel task, and joined"),
        (GRADES, "low||mid grade|high", "the name of a class in every row of .*; found none in line 3. Fill it in"),
        (
            GRADES,
            "low|mid grade|low",
            "rows with the class 'high', and rows without it.*no row with it.*Take the class",
        ),
        (GRADES, "0|1|2", "another one in line 2"),
        (FINDINGS, "bleed|mass|shift;blood", "another one in line 4; the nearest of them is 'bleed'"),
        (FINDINGS, "bleed|mass|bleed", "rows with the class 'shift'.*found no row with it"),
        (FINDINGS, "bleed;mass|mass|mass;shift", "'mass', and rows without it.*found no row without it"),
    ],
)
def test_what_is_no_class_or_misses_one_is_refused(
    encoded: Encoded, targets: Targets, cells: str, message: str
) -> None:
    with pytest.raises(LabelError, match=message) as caught:
        encoded(targets, cells)
    assert [secret for secret in ("Doe", "Roe", "hihg") if secret in str(caught.value)] == []
