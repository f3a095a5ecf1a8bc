"""The logistic probe on frozen features."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import roc_auc_score
from sklearn.multiclass import OneVsRestClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from pipeline.errors import TrainingError
from pipeline.targets import Targets
from pipeline.transfer import probe

UNITS = 120
PATIENTS = np.array([f"P{i // 2}" for i in range(UNITS)])


@pytest.fixture
def features() -> np.ndarray:
    """Unit features (U, 12); class k of `classes` shows in feature k."""
    values = np.random.default_rng(0).normal(3, 2, (UNITS, 12))
    values[np.arange(UNITS), np.arange(UNITS) % 3] += 2
    return values.astype(np.float32)


@pytest.fixture
def binary() -> np.ndarray:
    return (np.arange(UNITS) % 3 == 0)[:, None].astype(np.float32)


@pytest.fixture
def classes() -> np.ndarray:
    return np.eye(3, dtype=np.float32)[np.arange(UNITS) % 3]


@pytest.fixture
def findings() -> np.ndarray:
    """Several findings a unit, and units without any."""
    numbers = np.arange(UNITS)
    return np.stack([numbers % 3 == 0, numbers % 4 == 0], axis=1).astype(np.float32)


def reference(c: float) -> LogisticRegression:
    return make_pipeline(StandardScaler(), LogisticRegression(C=c, max_iter=2000))


def test_it_is_the_regression_with_standardisation_folded_in(features: np.ndarray, binary: np.ndarray) -> None:
    fitted, facts = probe.fit(features, binary, "binary", PATIENTS, [0.1], seed=1)
    expected = reference(0.1).fit(features, binary[:, 0]).decision_function(features)
    logits = fitted.logits(features)
    assert logits.shape == (UNITS, 1)
    assert logits.dtype == np.float32
    np.testing.assert_allclose(logits[:, 0], expected, atol=1e-4)
    assert 0.5 < facts["cv_auroc"] < 1


def test_several_classes_are_a_softmax(features: np.ndarray, classes: np.ndarray) -> None:
    fitted, facts = probe.fit(features, classes, "multiclass", PATIENTS, [0.1], seed=1)
    expected = reference(0.1).fit(features, classes.argmax(1)).predict_proba(features)
    logits = fitted.logits(features).astype(np.float64)
    np.testing.assert_allclose(np.exp(logits) / np.exp(logits).sum(1, keepdims=True), expected, atol=1e-4)
    assert 0.5 < facts["cv_auroc"] < 1


def test_two_classes_by_name_are_a_softmax_too(features: np.ndarray, binary: np.ndarray) -> None:
    two = np.concatenate([1 - binary, binary], axis=1)
    logits = probe.fit(features, two, "multiclass", PATIENTS, [0.1], seed=1)[0].logits(features)
    alone = probe.fit(features, binary, "binary", PATIENTS, [0.1], seed=1)[0].logits(features)
    np.testing.assert_allclose(logits[:, 1] - logits[:, 0], alone[:, 0], atol=1e-3)


def test_findings_are_each_one_against_the_rest(features: np.ndarray, findings: np.ndarray) -> None:
    fitted, _ = probe.fit(features, findings, "multilabel", PATIENTS, [0.1], seed=1)
    model = OneVsRestClassifier(reference(0.1)).fit(features, findings)
    np.testing.assert_allclose(fitted.logits(features), model.decision_function(features), atol=1e-4)


def test_regularisation_is_chosen_by_cross_validation(features: np.ndarray, binary: np.ndarray) -> None:
    scores = {c: probe.fit(features, binary, "binary", PATIENTS, [c], seed=1)[1]["cv_auroc"] for c in (1e-4, 1.0)}
    chosen = probe.fit(features, binary, "binary", PATIENTS, [1e-4, 1.0], seed=1)[1]
    assert chosen["c"] == max(scores, key=lambda c: scores[c])


def test_the_folds_keep_patients_whole(binary: np.ndarray) -> None:
    """Features that only tell patients apart are worth nothing on other patients, and must not look otherwise."""
    labels = binary[np.arange(UNITS) // 10]
    patients = np.array([f"P{i // 10}" for i in range(UNITS)])
    identity = np.eye(12, dtype=np.float32)[np.arange(UNITS) // 10]
    assert probe.fit(identity, labels, "binary", patients, [1.0], seed=1)[1]["cv_auroc"] <= 0.5


@pytest.mark.parametrize("kind", ["multiclass", "multilabel"])
def test_a_class_with_two_patients_is_fitted(features: np.ndarray, classes: np.ndarray, kind: str) -> None:
    rare = classes.copy()
    rare[:, 0] += rare[:, 2]
    rare[:, 2] = 0
    for row in (2, 11):  # of two patients
        rare[row] = (0, 0, 1)
    fitted, facts = probe.fit(features, rare, kind, PATIENTS, [0.01, 0.1], seed=1)
    assert np.isfinite(fitted.weight).all()
    assert 0 < facts["cv_auroc"] < 1


@pytest.mark.parametrize("kind", ["multiclass", "multilabel"])
def test_a_class_of_one_patient_leaves_its_folds_without_it(
    features: np.ndarray, classes: np.ndarray, kind: str
) -> None:
    rare = classes.copy()
    rare[:, 0] += rare[:, 2]
    rare[:, 2] = 0
    rare[5] = (0, 0, 1)
    fitted, facts = probe.fit(features, rare, kind, PATIENTS, [0.1], seed=1)
    assert fitted.weight.shape == (12, 3)
    assert np.isfinite(facts["cv_auroc"])


def test_where_no_fold_can_be_made_the_score_is_nan_and_the_regularisation_strong(features: np.ndarray) -> None:
    targets = np.array([[0], [0], [1], [1]], np.float32)
    one = np.array(["P0", "P0", "P1", "P1"])
    fitted, facts = probe.fit(features[:4], targets, "binary", one, [0.001, 1.0], seed=1)
    assert np.isnan(facts["cv_auroc"])
    assert facts["c"] == 0.001
    assert np.isfinite(fitted.weight).all()


@pytest.mark.parametrize("value", [0, 1])
def test_a_class_that_training_cannot_show_is_an_error(features: np.ndarray, value: int) -> None:
    targets = np.full((UNITS, 1), value, np.float32)
    with pytest.raises(TrainingError, match=r"120 units, of which \d+ have class 0 of the binary task"):
        probe.fit(features, targets, "binary", PATIENTS, [0.1], seed=1)


def test_auroc_of_several_classes_is_the_mean_of_those_that_have_one(classes: np.ndarray) -> None:
    logits = np.random.default_rng(2).normal(size=(UNITS, 3)).astype(np.float32) + classes
    shares = np.exp(logits) / np.exp(logits).sum(1, keepdims=True)
    expected = roc_auc_score(classes.argmax(1), shares, multi_class="ovr")
    assert probe.auroc(classes, logits, "multiclass") == pytest.approx(expected, abs=1e-6)
    first = classes[:, :1] * 0
    alone = np.concatenate([first, classes[:, 1:2]], axis=1)
    expected = roc_auc_score(classes[:, 1], logits[:, 1])
    assert probe.auroc(alone, logits[:, :2], "multilabel") == pytest.approx(expected, abs=1e-6)
    assert np.isnan(probe.auroc(first, logits[:, :1], "binary"))


def test_the_rarest_class_counts_patients_not_units() -> None:
    patients = np.array(["a", "a", "a", "b", "c", "d"])
    targets = Targets("multiclass", ("x", "y", "z")).encode(["0", "0", "0", "1", "1", "2"])
    assert probe.rarest(targets, "multiclass", patients) == 1
    assert probe.rarest(Targets("binary", ("0", "1")).encode(list("000111")), "binary", patients) == 1


def test_it_is_kept_as_safetensors(features: np.ndarray, classes: np.ndarray, tmp_path: Path) -> None:
    fitted, _ = probe.fit(features, classes, "multiclass", PATIENTS, [0.1], seed=1)
    fitted.save(tmp_path)
    assert np.array_equal(probe.load(tmp_path).logits(features), fitted.logits(features))
