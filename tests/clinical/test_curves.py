import numpy as np
import pytest
from sklearn.metrics import confusion_matrix, roc_auc_score, roc_curve

from pipeline.clinical import curves


def test_the_roc_is_that_of_scikit_learn():
    rng = np.random.default_rng(0)
    labels = rng.integers(0, 2, 70)
    scores = rng.normal(size=70).round(1) + labels
    found = curves.roc(labels, scores)
    fpr, tpr, _ = roc_curve(labels, scores, drop_intermediate=False)
    np.testing.assert_allclose(found.false_positive_rate, fpr)
    np.testing.assert_allclose(found.true_positive_rate, tpr)


def test_the_roc_on_a_grid_takes_the_top_of_a_step():
    found = curves.roc(np.array([1, 0, 1, 0]), np.array([4.0, 3, 2, 1]))
    np.testing.assert_allclose(found.at(np.array([0, 0.25, 0.5, 1])), [0.5, 0.5, 1, 1])


def test_a_tie_of_both_classes_is_a_slope():
    found = curves.roc(np.array([1, 0, 1, 0]), np.array([1.0, 1, 1, 1]))
    np.testing.assert_allclose(found.at(np.array([0, 0.25, 1])), [0, 0.25, 1])


def test_there_is_no_roc_of_one_class():
    found = curves.roc(np.ones(3, np.int64), np.arange(3.0))
    assert np.isnan(found.at(np.array([0.5]))).all()


def test_bins_hold_every_unit_once_and_what_was_observed():
    rng = np.random.default_rng(0)
    probabilities = rng.random(4000)
    labels = (rng.random(4000) < probabilities).astype(np.int64)
    bins = curves.reliability(labels, probabilities, 0.95)
    assert sum(b.n for b in bins) == 4000
    for b in bins:
        assert b.low <= b.observed <= b.high
        assert b.observed == pytest.approx(b.predicted, abs=0.06)
    assert len(curves.reliability(labels[:11], probabilities[:11], 0.95)) == 2
    assert curves.reliability(labels, np.full(4000, np.nan), 0.95) == []


def test_confusion_counts_are_those_of_scikit_learn():
    rng = np.random.default_rng(0)
    labels, calls = rng.integers(0, 2, 50), rng.random(50) > 0.4
    found = curves.confusion(labels, calls)
    (tn, fp), (fn, tp) = confusion_matrix(labels, calls)
    assert (found.true_negative, found.false_positive, found.false_negative, found.true_positive) == (tn, fp, fn, tp)


def test_the_area_under_a_mean_curve_is_the_mean_of_the_areas():
    rng = np.random.default_rng(0)
    labels = rng.integers(0, 2, (70, 3))
    scores = rng.normal(size=(70, 3)).round(1) + labels
    found = curves.mean_roc([curves.roc(*each) for each in zip(labels.T, scores.T, strict=True)])
    area = np.trapezoid(found.true_positive_rate, found.false_positive_rate)
    assert area == pytest.approx(roc_auc_score(labels, scores, average="macro"), abs=1e-6)
    assert (found.false_positive_rate[[0, -1]] == [0, 1]).all()
    assert (np.diff(found.true_positive_rate) >= -1e-12).all()


def test_one_curve_is_its_own_mean_and_a_missing_class_leaves_none():
    one = curves.roc(np.array([1, 0, 1]), np.array([0.1, 0.2, 0.3]))
    assert curves.mean_roc([one]) is one
    assert len(curves.mean_roc([one, curves.roc(np.ones(3, int), np.ones(3))]).true_positive_rate) == 0
