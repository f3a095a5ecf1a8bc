"""Thresholds of the control and the probe."""

import numpy as np
from scipy.special import expit

from pipeline.clinical.baselines import called
from pipeline.targets import BINARY, Targets
from pipeline.validation_config import ThresholdRule

RULE = ThresholdRule(rule="sensitivity", target=0.9)


def test_the_threshold_is_that_of_validation_alone():
    rng = np.random.default_rng(0)
    labels = np.arange(100)[:, None] % 2
    scores, asked = rng.normal(size=(100, 1)) + 2 * labels, rng.normal(size=(50, 1)) + 3
    found = called(labels, scores, asked, RULE, BINARY)
    reached = np.sort(scores[labels == 1])[5]  # the highest of which 45 of 50 positives are not below
    below = scores[scores < reached].max()
    threshold = (expit(reached) + expit(below)) / 2
    np.testing.assert_array_equal(found, expit(asked) >= threshold)
    assert 0 < found.sum() < 50


def test_exclusive_classes_need_none():
    labels = np.eye(3, dtype=np.int64)[np.arange(9) % 3]
    asked = np.array([[0.1, 3, 2], [5, 1, 1]])
    found = called(labels, np.zeros((9, 3)), asked, RULE, Targets("multiclass", ("a", "b", "c")))
    assert found.tolist() == [[False, True, False], [True, False, False]]


def test_a_score_that_is_not_finite_leaves_no_calls():
    labels = np.array([[0], [1]])
    assert called(labels, np.array([[0.0], [np.nan]]), np.zeros((2, 1)), RULE, BINARY) is None


def test_far_logits_keep_their_order():
    labels, scores = np.array([[1], [1], [0], [0]]), np.array([[600.0], [500.0], [450.0], [400.0]])
    found = called(labels, scores, np.array([[480.0], [470.0], [440.0]]), ThresholdRule(rule="youden"), BINARY)
    assert found[:, 0].tolist() == [True, True, False]
