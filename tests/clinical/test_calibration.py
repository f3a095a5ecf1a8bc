import numpy as np
import pytest
from scipy.special import expit, softmax

from pipeline.clinical import calibration
from pipeline.errors import SplitError, TrainingError
from pipeline.targets import BINARY, Targets, calls
from pipeline.validation_config import ThresholdRule

YOUDEN = ThresholdRule(rule="youden")


def probabilities(logits, temperature):
    return BINARY.probabilities(logits[:, None], temperature)[:, 0]


def fit(labels, logits, rule):
    return calibration.fit(labels[:, None], logits[:, None], rule, BINARY)


def target(value):
    return ThresholdRule(rule="sensitivity", target=value)


@pytest.mark.parametrize("temperature", [0.4, 1.0, 3.0])
def test_a_known_temperature_is_recovered(temperature):
    rng = np.random.default_rng(0)
    true_logits = rng.normal(scale=2, size=20000)
    labels = (rng.random(20000) < expit(true_logits)).astype(np.int64)
    assert calibration.fit_temperature(labels, true_logits * temperature) == pytest.approx(temperature, rel=0.05)


def test_the_temperature_has_the_least_loss():
    rng = np.random.default_rng(1)
    labels = rng.integers(0, 2, 60)
    logits = 3 * rng.normal(size=60) + labels
    best = calibration.fit_temperature(labels, logits)

    def loss(temperature):
        p = probabilities(logits, temperature)
        return -np.mean(np.log(np.where(labels == 1, p, 1 - p)))

    assert loss(best) < min(loss(best * 1.05), loss(best / 1.05))


def test_separated_units_stay_within_bounds():
    labels = np.array([0, 0, 1, 1])
    assert calibration.fit_temperature(labels, labels * 2.0 - 1) == pytest.approx(calibration.TEMPERATURES[0], rel=1e-3)


def test_the_sensitivity_rule_takes_the_highest_threshold_that_reaches_the_target():
    labels = np.array([1, 1, 1, 1, 0, 0, 0, 0])
    scores = np.array([0.9, 0.8, 0.6, 0.3, 0.7, 0.4, 0.2, 0.1])
    threshold = calibration.choose_threshold(labels, scores, target(0.75))
    assert 0.4 < threshold <= 0.6
    assert calibration.choose_threshold(labels, scores, target(1.0)) == pytest.approx(0.25)
    assert 0.8 < calibration.choose_threshold(labels, scores, target(0.25)) <= 0.9


@pytest.mark.parametrize("seed", range(20))
def test_no_higher_cut_reaches_the_target(seed):
    rng = np.random.default_rng(seed)
    labels = np.concatenate([[0, 1], rng.integers(0, 2, 48)])
    scores = rng.random(50).round(2)
    threshold = calibration.choose_threshold(labels, scores, target(0.9))
    positives = scores[labels == 1]
    assert np.mean(positives >= threshold) >= 0.9
    higher = positives[positives >= threshold].min() + 1e-9
    assert np.mean(positives >= higher) < 0.9


def test_nine_of_ten_reach_a_target_of_nine_tenths():
    labels = np.array([1] * 10 + [0] * 10)
    scores = np.concatenate([np.linspace(0.5, 0.95, 10), np.linspace(0.05, 0.45, 10)])
    assert np.sum(scores[:10] >= calibration.choose_threshold(labels, scores, target(0.9))) == 9


def test_youden_is_the_best_sum_of_sensitivity_and_specificity():
    labels = np.array([1, 1, 1, 0, 1, 0, 0, 0])
    scores = np.array([0.9, 0.8, 0.7, 0.6, 0.5, 0.3, 0.2, 0.1])
    # 0.65 (3 of 4 positives, all negatives right) and 0.4 (all, 3 of 4) are equal: the more sensitive one.
    assert calibration.choose_threshold(labels, scores, YOUDEN) == pytest.approx(0.4)


def test_rounding_of_another_runtime_moves_no_validation_unit_across():
    rng = np.random.default_rng(5)
    labels = np.tile([0, 1], 30)
    logits = rng.normal(size=60) + labels
    temperature, threshold = fit(labels, logits, target(0.9))
    calls = probabilities(logits, temperature) >= threshold
    other = probabilities(logits + rng.normal(scale=1e-5, size=60), temperature) >= threshold
    np.testing.assert_array_equal(calls, other)


def test_logits_that_are_not_finite_are_a_training_error():
    with pytest.raises(TrainingError, match="1 of 3"):
        fit(np.array([0, 1, 1]), np.array([0.0, np.nan, 1.0]), YOUDEN)


def test_one_class_is_a_split_error():
    with pytest.raises(SplitError, match="3 positive of 3"):
        fit(np.ones(3, np.int64), np.arange(3.0), YOUDEN)


def test_the_rule_is_recorded_in_words():
    assert calibration.rule_name(YOUDEN, BINARY) == "youden"
    assert calibration.rule_name(target(0.9), BINARY) == "sensitivity at least 0.9"
    assert calibration.rule_name(YOUDEN, GRADES) == "the most probable class"


GRADES = Targets("multiclass", ("low", "mid", "high"))
FINDINGS = Targets("multilabel", ("bleed", "mass"))


@pytest.mark.parametrize("temperature", [0.4, 3.0])
def test_a_known_temperature_of_a_softmax_is_recovered(temperature):
    rng = np.random.default_rng(0)
    true_logits = rng.normal(scale=2, size=(8000, 3))
    drawn = [rng.choice(3, p=each) for each in softmax(true_logits, axis=1)]
    found, threshold = calibration.fit(np.eye(3, dtype=int)[drawn], true_logits * temperature, YOUDEN, GRADES)
    assert found == pytest.approx(temperature, rel=0.05)
    assert threshold is None
    np.testing.assert_allclose(GRADES.probabilities(true_logits, 2.0), softmax(true_logits / 2, axis=1), atol=1e-12)


def test_each_of_several_labels_has_its_own_temperature_and_threshold():
    rng = np.random.default_rng(0)
    true_logits = np.stack([rng.normal(scale=2, size=8000), rng.normal(loc=-2, scale=2, size=8000)], axis=1)
    labels = (rng.random((8000, 2)) < expit(true_logits)).astype(int)
    temperatures, thresholds = calibration.fit(labels, true_logits * [0.5, 2.0], target(0.9), FINDINGS)
    assert temperatures == pytest.approx([0.5, 2.0], rel=0.1)
    called = calls(FINDINGS.probabilities(true_logits * [0.5, 2.0], temperatures), thresholds)
    for place in range(2):
        assert called[labels[:, place] == 1, place].mean() == pytest.approx(0.9, abs=1e-3)
        alone = fit(labels[:, place], true_logits[:, place] * [0.5, 2.0][place], target(0.9))
        assert alone == pytest.approx((temperatures[place], thresholds[place]))


def test_a_class_that_no_validation_unit_has_is_named():
    labels = np.eye(3, dtype=int)[[0, 1, 0, 1]]
    with pytest.raises(SplitError, match="0 positive of 4, class 'high'"):
        calibration.fit(labels, np.zeros((4, 3)), YOUDEN, GRADES)
