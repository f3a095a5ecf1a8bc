"""What a task's answers say: probabilities, calls and words."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.special import expit, log_softmax

from pipeline.targets import BINARY, Targets, calls

GRADES = Targets("multiclass", ("low", "mid", "high"))
FINDINGS = Targets("multilabel", ("bleed", "mass", "shift"))


def test_labels_become_columns() -> None:
    assert BINARY.encode(["1", "0"]).tolist() == [[1], [0]]
    assert GRADES.encode(["2", "0"]).tolist() == [[0, 0, 1], [1, 0, 0]]
    assert FINDINGS.encode(["0;2", "", "1"]).tolist() == [[1, 0, 1], [0, 0, 0], [0, 1, 0]]
    assert [targets.encode([]).shape for targets in (BINARY, GRADES)] == [(0, 1), (0, 3)]


def test_classes_that_logits_speak_of() -> None:
    assert Targets("binary", ("not ill", "ill")).named == ("ill",)
    assert GRADES.named == ("low", "mid", "high")


@pytest.mark.parametrize("targets", [BINARY, GRADES, FINDINGS])
def test_extreme_logits_give_probabilities(targets: Targets) -> None:
    logits = np.full((3, targets.outputs), -1e30)
    logits[0] = 1e30
    logits[1, 0] = 0
    found = targets.probabilities(logits.astype(np.float32), 0.05)
    assert np.isfinite(found).all()
    assert found[1, 0] == (1 if targets.kind == "multiclass" else 0.5)


def test_each_class_has_its_temperature_and_threshold() -> None:
    logits = np.array([[1.0, 2.0, -3.0]])
    found = FINDINGS.probabilities(logits, [1.0, 2.0, 3.0])
    assert found == pytest.approx(expit([[1.0, 1.0, -1.0]]))
    assert calls(found, [found[0, 0], 0.8, 0.2]).tolist() == [[True, False, True]]


def test_a_probability_on_the_threshold_is_positive_and_of_equal_classes_the_first_is_called() -> None:
    assert calls(np.array([[0.5], [0.49]]), 0.5).tolist() == [[True], [False]]
    assert calls(np.array([[0.2, 0.4, 0.4]]), None).tolist() == [[False, True, False]]


def test_units_of_a_softmax_are_ranked_by_log_probabilities() -> None:
    logits = np.random.default_rng(0).normal(size=(5, 3)).astype(np.float32)
    np.testing.assert_allclose(GRADES.scores(logits), log_softmax(logits.astype(float), axis=1), atol=1e-12)
    np.testing.assert_array_equal(FINDINGS.scores(logits), logits)


def test_words() -> None:
    assert [BINARY.words([there]) for there in (True, False)] == ["1", "0"]
    assert GRADES.words([False, True, False]) == "mid"
    assert [FINDINGS.words(there) for there in ([True, False, True], [False] * 3)] == ["bleed;shift", ""]
