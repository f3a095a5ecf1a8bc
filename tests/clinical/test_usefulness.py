"""Net benefit."""

import numpy as np
import pytest
from scipy.stats import t

from pipeline.clinical.resampling import ONE_PATIENT, SAME, draw
from pipeline.clinical.usefulness import GRID, at_threshold, decision_curve


def resamples(patients, n=500):
    return draw([f"p{p}" for p in patients], n, 0.95, 1)


def test_net_benefit_by_hand():
    """Of 10 units 4 are positive. At 0.25 (odds 1/3) six are treated, three rightly: 3/10 - 3/10 / 3 = 0.2."""
    labels = np.array([1, 1, 1, 1, 0, 0, 0, 0, 0, 0])
    probabilities = np.array([0.9, 0.5, 0.25, 0.1, 0.8, 0.3, 0.3, 0.2, 0.1, 0.0])
    found = at_threshold(labels, probabilities, 0.25, resamples(range(10)))
    assert found["net_benefit"]["value"] == pytest.approx(0.2)
    assert found["treat_all"] == pytest.approx(0.4 - 0.6 / 3)
    assert found["threshold_odds"] == pytest.approx(1 / 3, abs=1e-6)
    assert found["net_benefit"]["low"] < 0.2 < found["net_benefit"]["high"]


def test_the_curve_is_the_formula_at_every_threshold():
    rng = np.random.default_rng(0)
    labels, probabilities = rng.integers(0, 2, 80), rng.random(80)
    curve = decision_curve(labels, probabilities, resamples(np.arange(80) // 2))
    for place in (0, 30, 98):
        t = GRID[place]
        treated = probabilities >= t
        expected = np.mean(treated & (labels == 1)) - np.mean(treated & (labels == 0)) * t / (1 - t)
        assert curve.model[place] == pytest.approx(expected)
        assert curve.treat_all[place] == pytest.approx(labels.mean() - (1 - labels.mean()) * t / (1 - t))
    assert (curve.low <= curve.model).all()
    assert (curve.model <= curve.high).all()


def test_a_perfect_model_is_worth_the_share_of_positives_everywhere():
    labels = np.arange(50) % 5 == 0
    curve = decision_curve(labels.astype(int), np.where(labels, 1.0, 0.0), resamples(range(50)))
    np.testing.assert_allclose(curve.model, 0.2)
    assert (curve.model >= np.maximum(curve.treat_all, 0)).all()


def test_over_treating_all_is_what_the_model_spares_and_its_interval_is_paired():
    """A unit that is not treated saves the odds if negative and costs 1 if positive; t of 4 patients by hand."""
    labels = np.array([1, 1, 0, 0, 0, 0, 1, 0])
    probabilities = np.array([0.9, 0.1, 0.1, 0.1, 0.9, 0.1, 0.9, 0.1])
    found = at_threshold(labels, probabilities, 0.25, resamples(np.arange(8) // 2))
    difference = found["net_benefit"]["value"] - found["treat_all"]
    assert found["over_treat_all"]["value"] == pytest.approx(difference, abs=2e-6)
    saved = np.array([-1, 2 / 3, 1 / 3, 1 / 3])  # by patient
    assert found["over_treat_all"]["value"] == pytest.approx(saved.sum() / 8, abs=1e-6)
    half = t.ppf(0.975, 3) * saved.std(ddof=1) * np.sqrt(4) / 8
    assert found["over_treat_all"]["high"] == pytest.approx(saved.sum() / 8 + half, abs=1e-6)


def test_what_all_patients_share_is_no_certainty():
    found = at_threshold(np.array([0, 1, 0, 1]), np.full(4, 0.9), 0.5, resamples(range(4)))
    assert found["over_treat_all"]["value"] == 0
    assert found["over_treat_all"]["reason"] == SAME
    one = at_threshold(np.array([0, 1]), np.array([0.9, 0.1]), 0.5, resamples([0, 0]))
    assert one["net_benefit"]["reason"] == ONE_PATIENT
    assert np.isnan(one["net_benefit"]["high"])


def test_one_class_alone_still_has_a_benefit():
    found = at_threshold(np.zeros(4, int), np.array([0.9, 0.1, 0.1, 0.1]), 0.5, resamples(range(4)))
    assert found["net_benefit"]["value"] == -0.25


@pytest.mark.parametrize(
    ("threshold", "value", "reason"), [(1.0, 0.5, "at a threshold of 1"), (0.5, np.nan, "a probability is not finite")]
)
def test_a_benefit_that_cannot_be_weighed_says_why(threshold, value, reason):
    found = at_threshold(np.array([0, 1]), np.array([0.5, value]), threshold, resamples(range(2)))
    assert np.isnan(found["net_benefit"]["value"])
    assert found["reason"].startswith(reason)


def test_no_curve_without_finite_probabilities():
    assert len(decision_curve(np.array([0, 1]), np.array([0.5, np.nan]), resamples(range(2))).model) == 0
