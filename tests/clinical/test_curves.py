from itertools import pairwise

import numpy as np
import pytest
from sklearn.metrics import confusion_matrix, roc_auc_score, roc_curve

from pipeline.clinical import curves
from pipeline.clinical.resampling import draw


def each_own(n):
    return draw([f"p{i}" for i in range(n)], 100, 0.95, 1)


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
    bins = curves.reliability(labels, probabilities, each_own(4000))
    assert sum(b.n for b in bins) == 4000
    for b in bins:
        assert b.low <= b.observed <= b.high
        assert b.observed == pytest.approx(b.predicted, abs=0.06)
    assert len(curves.reliability(labels[:11], probabilities[:11], each_own(11))) == 2
    assert curves.reliability(labels, np.full(4000, np.nan), each_own(4000)) == []


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


def test_few_different_probabilities_are_a_group_each_and_ties_are_never_parted():
    values = np.repeat([0.2, 0.7, 0.4], [50, 3, 7])
    assert [sorted(set(values[group])) for group in curves.groups_of(values, 5)] == [[0.2], [0.4], [0.7]]
    rng = np.random.default_rng(1)
    values = rng.integers(0, 30, 300) / 30
    groups = curves.groups_of(values, 6)
    assert sorted(np.concatenate(groups)) == list(range(300))
    assert len(groups) <= 6
    assert all(values[one].max() < values[two].min() for one, two in pairwise(groups))
    assert curves.groups_of(np.empty(0), 4) == []


def test_the_band_widens_where_units_of_a_patient_answer_alike():
    rng = np.random.default_rng(0)
    chances = np.repeat(rng.random(200), 5)
    labels = np.repeat(rng.random(200) < chances[::5], 5).astype(np.int64)
    together = draw([f"p{i // 5}" for i in range(1000)], 100, 0.95, 1)
    clustered, naive = (curves.reliability(labels, chances, of) for of in (together, each_own(1000)))
    for wide, narrow in zip(clustered, naive, strict=True):
        assert wide.observed == narrow.observed
        assert wide.high - wide.low > 1.5 * (narrow.high - narrow.low)


def test_precision_at_a_recall_is_that_of_the_highest_threshold_that_reaches_it():
    labels, scores = np.array([1, 0, 1, 0, 1]), np.array([5.0, 4, 3, 2, 1])
    found = curves.precision_at(labels, scores, np.array([0.1, 1 / 3, 0.5, 2 / 3, 1.0]))
    np.testing.assert_allclose(found, [1, 1, 2 / 3, 2 / 3, 3 / 5])
    assert np.isnan(curves.precision_at(np.ones(3, int), scores[:3], np.array([0.5]))).all()
