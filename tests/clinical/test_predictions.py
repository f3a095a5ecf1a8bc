"""Another model's file of predictions."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from pipeline.clinical.predictions import read
from pipeline.errors import ContractError
from pipeline.files import sha256_file, write_csv
from pipeline.targets import BINARY, Targets
from pipeline.validation_config import Compared

IDS = ["s1", "s2", "s3"]


def given(folder: Path, rows: list[dict[str, Any]], **more: Any) -> Compared:
    write_csv(folder / "old.csv", list(rows[0]), rows)
    return Compared.model_validate({"name": "old", "predictions": folder / "old.csv", **more})


def rows(**columns: Any) -> list[dict[str, Any]]:
    """In another order than the units here."""
    return [{"unit": unit, **{name: values[unit] for name, values in columns.items()}} for unit in ("s3", "s1", "s2")]


CHANCES = {"s1": 0.2, "s2": 0.6, "s3": 0.9}


def test_probabilities_meet_their_units_and_their_threshold(tmp_path: Path) -> None:
    same = dict.fromkeys(IDS, 0.6)
    found = read(given(tmp_path, rows(probability=CHANCES, threshold=same)), IDS, BINARY)
    assert found.scores.tolist() == [[0.2], [0.6], [0.9]]
    assert found.called is not None
    assert found.called.tolist() == [[False], [True], [True]]


def test_logits_alone_rank_and_call_nothing(tmp_path: Path) -> None:
    found = read(given(tmp_path, rows(logit={"s1": -3, "s2": 0, "s3": ""})), IDS, BINARY)
    np.testing.assert_array_equal(found.scores, [[-3], [0], [np.nan]])
    assert found.called is None


def test_several_classes_have_a_column_each(tmp_path: Path) -> None:
    one, two = {"s1": 0.2, "s2": 0.6, "s3": 0.9}, {"s1": 0.8, "s2": 0.4, "s3": 0.1}
    file = given(tmp_path, rows(probability_a=one, probability_b=two))
    found = read(file, IDS, Targets("multiclass", ("a", "b")))
    assert found.called is not None
    assert found.called.tolist() == [[False, True], [True, False], [True, False]]
    assert read(file, IDS, Targets("multilabel", ("a", "b"))).called is None


@pytest.mark.parametrize(
    ("found", "said"),
    [
        ([{"unit": "s1", "score": 1}], r"columns unit, probability \(or logit\) in .*; found unit, score"),
        (rows(probability=CHANCES)[:2], "3 test units in .*; found 1 of them missing, 0 others"),
        ([*rows(probability=CHANCES), {"unit": "s4", "probability": 0}], "found 0 of them missing, 1 others"),
        ([*rows(probability=CHANCES), {"unit": "s1", "probability": 0}], "1 rows of a unit that has one already"),
        (rows(probability=CHANCES | {"s2": "high"}), "numbers in .*; found a cell that is none"),
        (rows(logit=CHANCES, threshold=CHANCES), "a column probability .*; found logit alone"),
    ],
)
def test_a_file_that_does_not_fit_is_refused(tmp_path: Path, found: list[dict[str, Any]], said: str) -> None:
    with pytest.raises(ContractError, match=said):
        read(given(tmp_path, found), IDS, BINARY)


def test_a_missing_file_and_one_that_changed_are_refused(tmp_path: Path) -> None:
    file = given(tmp_path, rows(probability=CHANCES))
    pinned = file.model_copy(update={"sha256": sha256_file(file.predictions)})
    assert read(pinned, IDS, BINARY).scores.shape == (3, 1)
    with file.predictions.open("a") as handle:
        handle.write("\n")
    with pytest.raises(ContractError, match="with SHA-256"):
        read(pinned, IDS, BINARY)
    file.predictions.unlink()
    with pytest.raises(ContractError, match=r"validate\.compare, old\); found no such file"):
        read(file, IDS, BINARY)
