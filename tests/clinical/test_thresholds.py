import numpy as np
import pytest
from pydantic import ValidationError

from pipeline.clinical.thresholds import choose_threshold, rule_name
from pipeline.errors import SplitError
from pipeline.targets import BINARY, Targets
from pipeline.validation_config import ThresholdRule

YOUDEN = ThresholdRule(rule="youden")
GRADES = Targets("multiclass", ("low", "mid", "high"))


def target(value, rule="sensitivity"):
    return ThresholdRule(rule=rule, target=value)


def cost(ratio, prevalence=None):
    return ThresholdRule(rule="cost", miss_to_false_alarm=ratio, prevalence=prevalence)


def test_the_sensitivity_rule_takes_the_highest_threshold_that_reaches_the_target():
    labels = np.array([1, 1, 1, 1, 0, 0, 0, 0])
    scores = np.array([0.9, 0.8, 0.6, 0.3, 0.7, 0.4, 0.2, 0.1])
    threshold = choose_threshold(labels, scores, target(0.75))
    assert 0.4 < threshold <= 0.6
    assert choose_threshold(labels, scores, target(1.0)) == pytest.approx(0.25)
    assert 0.8 < choose_threshold(labels, scores, target(0.25)) <= 0.9


@pytest.mark.parametrize("seed", range(20))
def test_no_higher_cut_reaches_the_target(seed):
    rng = np.random.default_rng(seed)
    labels = np.concatenate([[0, 1], rng.integers(0, 2, 48)])
    scores = rng.random(50).round(2)
    threshold = choose_threshold(labels, scores, target(0.9))
    positives = scores[labels == 1]
    assert np.mean(positives >= threshold) >= 0.9
    higher = positives[positives >= threshold].min() + 1e-9
    assert np.mean(positives >= higher) < 0.9


def test_nine_of_ten_reach_a_target_of_nine_tenths():
    labels = np.array([1] * 10 + [0] * 10)
    scores = np.concatenate([np.linspace(0.5, 0.95, 10), np.linspace(0.05, 0.45, 10)])
    assert np.sum(scores[:10] >= choose_threshold(labels, scores, target(0.9))) == 9


def test_youden_is_the_best_sum_of_sensitivity_and_specificity():
    labels = np.array([1, 1, 1, 0, 1, 0, 0, 0])
    scores = np.array([0.9, 0.8, 0.7, 0.6, 0.5, 0.3, 0.2, 0.1])
    # 0.65 (3 of 4 positives, all negatives right) and 0.4 (all, 3 of 4) are equal: the more sensitive one.
    assert choose_threshold(labels, scores, YOUDEN) == pytest.approx(0.4)


def test_the_rule_is_recorded_in_words():
    assert rule_name(YOUDEN, BINARY) == "youden"
    assert rule_name(target(0.9), BINARY) == "sensitivity at least 0.9"
    assert rule_name(YOUDEN, GRADES) == "the most probable class"
    assert rule_name(target(0.95, "specificity"), BINARY) == "specificity at least 0.95"
    words = "least cost, a miss as bad as 10 false alarms, prevalence "
    assert rule_name(cost(10), BINARY) == f"{words}that of validation"
    assert rule_name(cost(10, 0.02), BINARY) == f"{words}0.02"


def made_up(seed):
    rng = np.random.default_rng(seed)
    labels = np.concatenate([[0, 1], rng.integers(0, 2, 48)])
    return labels, rng.random(50).round(2) * 0.9


@pytest.mark.parametrize("seed", range(20))
def test_the_specificity_rule_takes_the_lowest_threshold_that_reaches_the_target(seed):
    labels, scores = made_up(seed)
    threshold = choose_threshold(labels, scores, target(0.9, "specificity"))
    negatives = scores[labels == 0]
    assert np.mean(negatives < threshold) >= 0.9
    lower = scores[scores < threshold].max()  # one more level called positive
    assert np.mean(negatives < lower) < 0.9


def test_full_specificity_may_call_nobody():
    labels, scores = np.array([1, 0]), np.array([0.3, 0.6])
    assert choose_threshold(labels, scores, target(1.0, "specificity")) == pytest.approx(0.8)
    with pytest.raises(SplitError, match="at most 0: the other negatives have a probability of 1"):
        choose_threshold(labels, np.array([0.3, 1.0]), target(0.9, "specificity"))


@pytest.mark.parametrize("seed", range(10))
@pytest.mark.parametrize(("ratio", "prevalence"), [(1.0, None), (10.0, None), (10.0, 0.02), (0.2, 0.3)])
def test_the_cost_rule_has_the_least_cost_of_all_thresholds(seed, ratio, prevalence):
    labels, scores = made_up(seed)
    share = labels.mean() if prevalence is None else prevalence

    def expected(threshold):
        called = scores >= threshold
        misses, alarms = np.mean(~called[labels == 1]), np.mean(called[labels == 0])
        return share * ratio * misses + (1 - share) * alarms

    best = expected(choose_threshold(labels, scores, cost(ratio, prevalence)))
    assert best == pytest.approx(min(expected(threshold) for threshold in np.linspace(0, 1, 2001)))


def test_dear_misses_lower_the_threshold():
    labels, scores = made_up(3)
    thresholds = [choose_threshold(labels, scores, cost(ratio)) for ratio in (0.01, 1.0, 1000.0)]
    assert thresholds == sorted(thresholds, reverse=True)
    assert thresholds[0] > thresholds[-1]


@pytest.mark.parametrize("rule", [YOUDEN, target(0.9), cost(5)])
def test_equal_scores_call_everybody(rule):
    assert choose_threshold(np.array([0, 1, 1]), np.full(3, 0.4), rule) <= 0.4


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"rule": "specificity"}, "needs a target"),
        ({"rule": "youden", "target": 0.9}, "has no target"),
        ({"rule": "cost"}, "needs miss_to_false_alarm"),
        ({"rule": "sensitivity", "target": 0.9, "prevalence": 0.1}, "has no prevalence"),
        ({"rule": "cost", "miss_to_false_alarm": 0.0}, "greater than 0"),
        ({"rule": "cost", "miss_to_false_alarm": 2.0, "prevalence": 1.0}, "less than 1"),
    ],
)
def test_settings_that_mean_nothing_are_refused(settings, message):
    with pytest.raises(ValidationError, match=message):
        ThresholdRule(**settings)
