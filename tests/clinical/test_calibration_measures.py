"""Do probabilities mean what they say?"""

import numpy as np
import pytest
from scipy.special import expit, logit
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import brier_score_loss

from pipeline.clinical import calibration_measures as measures
from pipeline.clinical.resampling import draw


def resamples(patients, n=300):
    return draw([f"p{p}" for p in patients], n, 0.95, 1)


def answers(seed, n, slope=1.0, intercept=0.0):
    """Probabilities whose logit has to be multiplied by `slope`, plus `intercept`, to be right."""
    rng = np.random.default_rng(seed)
    logits = rng.normal(size=n) * 1.5
    return (rng.random(n) < expit(slope * logits + intercept)).astype(np.int64), expit(logits)


def test_murphys_parts_by_hand():
    """Forecast 0.2 for five units, one positive; 0.6 for five, four positive: Brier 0.18, uncertainty 0.25."""
    labels = np.array([1, 0, 0, 0, 0, 1, 1, 1, 1, 0])
    found = measures.decompose(labels, np.repeat([0.2, 0.6], 5))
    assert found.uncertainty == pytest.approx(0.25)
    assert found.reliability == pytest.approx((0 + 0.2**2) / 2)
    assert found.resolution == pytest.approx(0.3**2)
    assert found.within == pytest.approx(0, abs=1e-15)
    assert found.reliability - found.resolution + found.uncertainty == pytest.approx(0.18)


def test_the_parts_sum_up_to_the_score():
    labels, probabilities = answers(0, 500)
    found = measures.decompose(labels, probabilities)
    whole = found.reliability - found.resolution + found.uncertainty + found.within
    assert whole == pytest.approx(brier_score_loss(labels, probabilities))
    assert abs(found.within) < 0.005


def test_the_calibration_error_by_hand():
    labels = np.array([1, 0, 0, 0, 0, 1, 1, 1, 1, 0])
    found = measures.calibration_error(labels, np.repeat([0.2, 0.9], 5), resamples(range(10)))
    assert found.value == pytest.approx(0.05)  # 0 in the one half, 0.1 in the other


def test_the_error_of_right_probabilities_is_noise_and_of_wrong_ones_is_not():
    right = measures.calibration_error(*answers(1, 1000), resamples(range(1000)))
    wrong = measures.calibration_error(*answers(1, 1000, intercept=1.0), resamples(range(1000)))
    assert right.low < 0.01
    assert wrong.low > 0.1
    assert wrong.low < wrong.value < wrong.high


def test_slope_and_intercept_are_those_of_an_unpenalised_logistic_regression():
    labels, probabilities = answers(2, 400, slope=0.6, intercept=0.4)
    slope, intercept = measures.recalibration(labels, probabilities, resamples(range(400)))
    expected = LogisticRegression(C=np.inf, tol=1e-10).fit(logit(probabilities)[:, None], labels)
    assert slope.value == pytest.approx(expected.coef_[0, 0], abs=1e-4)
    assert slope.high < 1
    # With the logit as offset the intercept makes the mean of the probabilities the share of positives.
    assert expit(logit(probabilities) + intercept.value).mean() == pytest.approx(labels.mean(), abs=1e-9)


def test_their_intervals_hold_the_truth_and_widen_with_copies():
    held = 0
    for seed in range(60):
        labels, probabilities = answers(seed, 200)
        slope, intercept = measures.recalibration(labels, probabilities, resamples(range(200), 100))
        held += (slope.low <= 1 <= slope.high) + (intercept.low <= 0 <= intercept.high)
    assert 105 <= held <= 120
    copied = measures.recalibration(np.repeat(labels, 4), np.repeat(probabilities, 4), resamples(np.arange(800) // 4))
    for once, fourfold in zip((slope, intercept), copied, strict=True):
        assert fourfold.value == pytest.approx(once.value, abs=1e-6)
        assert fourfold.high - fourfold.low == pytest.approx(once.high - once.low, rel=0.02)


@pytest.mark.parametrize(
    ("labels", "probabilities", "reason"),
    [
        ([1, 1, 1, 1], [0.1, 0.2, 0.3, 0.4], "only one class among the units"),
        ([0, 1, 1, 1], [0.1, 0.2, 0.3, 0.4], "too few patients of a class to resample"),
        ([0, 0, 1, 1], [0.3] * 4, "all probabilities are equal"),
        ([0, 0, 1, 1], [0.1, 0.2, 0.3, 0.4], "the classes do not overlap: the slope has no bound"),
        ([0, 0, 1, 1], [0.9, 0.8, 0.3, 0.4], "the classes do not overlap: the slope has no bound"),
    ],
)
def test_a_slope_that_cannot_be_had_says_why(labels, probabilities, reason):
    slope, _ = measures.recalibration(np.array(labels), np.array(probabilities), resamples(range(4)))
    assert np.isnan([slope.value, slope.low, slope.high]).all()
    assert slope.reason == reason


def test_probabilities_of_nought_and_one_have_a_slope():
    labels = np.array([0, 1, 0, 1, 0, 1, 1, 0])
    slope, _ = measures.recalibration(labels, np.array([0, 1, 0, 1, 1, 0, 1, 0.5]), resamples(range(8)))
    assert 0 < slope.value < 1


def test_figures_of_several_classes_take_all_answers_of_a_unit_together():
    labels, probabilities = answers(5, 300)
    drawn = resamples(range(150))
    pairs = [values.reshape(150, 2) for values in (labels, probabilities)]
    found = measures.figures(*pairs, drawn)
    flat = measures.figures(labels[:, None], probabilities[:, None], resamples(np.arange(300) // 2))
    assert found["ece"] == flat["ece"]
    assert found["slope"] == flat["slope"]


def test_a_probability_that_is_not_finite_leaves_all_undefined():
    found = measures.figures(np.array([[0], [1]]), np.array([[0.5], [np.nan]]), resamples(range(2)))
    assert found["slope"]["reason"] == "a probability is not finite"
    assert np.isnan([found["brier"]["value"], found["ece"]["value"], found["brier_reliability"]]).all()
