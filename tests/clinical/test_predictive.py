"""Likelihood ratios and predictive values."""

import numpy as np
import pytest
from scipy.stats import t

from pipeline.clinical import metrics
from pipeline.clinical.predictive import at_prevalence, likelihood_ratio
from pipeline.clinical.resampling import SAME, TOO_FEW, draw


def resamples(patients):
    return draw([f"p{p}" for p in patients], 100, 0.95, 1)


def table(tp, fn, fp, tn, copies=1):
    """Labels, calls and resamples of a table of patients, each with so many equal units."""
    labels = np.repeat([1, 1, 0, 0], [tp, fn, fp, tn])
    called = np.repeat([True, False, True, False], [tp, fn, fp, tn])
    patients = np.repeat(np.arange(len(labels)), copies)
    return np.repeat(labels, copies), np.repeat(called, copies), resamples(patients)


def test_the_ratio_and_its_interval_are_those_of_simel():
    """Simel et al. (1991): log LR+ has variance 1/tp - 1/(tp + fn) + 1/fp - 1/(fp + tn)."""
    labels, called, drawn = table(90, 10, 30, 170)
    found = likelihood_ratio(labels, called, drawn, positive=True)
    half = 1.959964 * np.sqrt(1 / 90 - 1 / 100 + 1 / 30 - 1 / 200)
    assert found.value == pytest.approx(6)
    assert (found.low, found.high) == pytest.approx((6 * np.exp(-half), 6 * np.exp(half)), rel=1e-6)
    negative = likelihood_ratio(labels, called, drawn, positive=False)
    half = 1.959964 * np.sqrt(1 / 10 - 1 / 100 + 1 / 170 - 1 / 200)
    assert negative.value == pytest.approx(0.1 / 0.85)
    assert negative.high == pytest.approx(negative.value * np.exp(half), rel=1e-6)


def test_copies_of_a_patients_unit_do_not_narrow_it():
    once = likelihood_ratio(*table(90, 10, 30, 170), positive=True)
    fivefold = likelihood_ratio(*table(90, 10, 30, 170, copies=5), positive=True)
    assert fivefold.value == pytest.approx(once.value)
    assert (fivefold.low, fivefold.high) == pytest.approx((once.low, once.high), rel=0.01)


def test_few_sick_patients_among_many_widen_it_by_their_own_number():
    """Student's t for 4 - 1, whatever the number of well ones."""
    labels, called, drawn = table(3, 1, 20, 80, copies=2)
    found = likelihood_ratio(labels, called, drawn, positive=True)
    error = np.sqrt((1 / 3 - 1 / 4 + 1 / 20 - 1 / 100) * 104 / 103)
    assert found.high == pytest.approx(found.value * np.exp(t.ppf(0.975, 3) * error))
    alone = likelihood_ratio(*table(1, 0, 20, 80, copies=2), positive=True)
    assert (alone.value, alone.reason) == (pytest.approx(5), TOO_FEW)


@pytest.mark.parametrize(
    ("counts", "positive", "reason"),
    [
        ((5, 5, 0, 10), True, "no negative unit is called positive: the ratio has no bound"),
        ((0, 5, 3, 10), True, "no positive unit is called positive: no interval"),
        ((5, 0, 3, 10), False, "no positive unit is called negative: no interval"),
        ((5, 0, 10, 0), True, SAME),
        ((0, 0, 3, 10), True, "no positive unit"),
        ((3, 1, 0, 0), True, "no negative unit"),
    ],
)
def test_a_ratio_with_an_empty_cell_says_why(counts, positive, reason):
    found = likelihood_ratio(*table(*counts), positive=positive)
    assert found.reason == reason
    assert np.isnan(found.low)


def predicted(counts, prevalence):
    labels, called, drawn = table(*counts)
    ratios = [likelihood_ratio(labels, called, drawn, positive) for positive in (True, False)]
    shares = [measure(labels, called, drawn) for measure in (metrics.sensitivity, metrics.specificity)]
    return at_prevalence(prevalence, *shares, ratios)


def test_predictive_values_are_bayes_rule_by_hand():
    """Sensitivity 0.9, specificity 0.85, prevalence 1 %: of 1,000, 9 of 10 found and 148.5 of 990 called falsely."""
    found = predicted((90, 10, 30, 170), 0.01)
    assert found["ppv"]["value"] == pytest.approx(9 / 157.5, abs=1e-6)
    assert found["npv"]["value"] == pytest.approx(841.5 / 842.5, abs=1e-6)
    assert found["per_1000"] == {"found": 9.0, "missed": 1.0, "false_alarms": 148.5, "cleared": 841.5}
    for name in ("ppv", "npv"):
        assert found[name]["low"] < found[name]["value"] < found[name]["high"]


def test_at_the_prevalence_of_the_units_they_are_the_shares_of_these():
    labels, called, drawn = table(90, 10, 30, 170)
    found = predicted((90, 10, 30, 170), 1 / 3)
    for name, share in (("ppv", metrics.ppv), ("npv", metrics.npv)):
        assert found[name]["value"] == pytest.approx(share(labels, called, drawn).value, abs=1e-6)


@pytest.mark.parametrize(("counts", "ppv", "npv"), [((20, 5, 0, 30), 1, None), ((0, 25, 6, 24), 0, None)])
def test_without_a_ratio_the_bounds_of_the_shares_make_the_interval(counts, ppv, npv):
    found = predicted(counts, 0.1)
    assert found["ppv"]["value"] == ppv
    assert found["ppv"]["method"] == "by the bounds of sensitivity and specificity"
    assert 0 <= found["ppv"]["low"] <= ppv <= found["ppv"]["high"] <= 1
    assert found["ppv"]["high"] - found["ppv"]["low"] > 0.1
    assert found["npv"]["method"] == "by the likelihood ratio"


def test_predictive_values_of_nothing_are_undefined_with_a_reason():
    found = predicted((0, 0, 3, 10), 0.1)
    assert np.isnan(found["ppv"]["value"])
    assert found["ppv"]["reason"] == "no positive unit"
    nobody = predicted((0, 5, 0, 10), 0.1)
    assert np.isnan(nobody["ppv"]["value"])
    assert nobody["ppv"]["reason"] == "nothing is called so"
    assert nobody["npv"]["value"] == pytest.approx(0.9)
