"""Two models on the same units."""

from itertools import product

import numpy as np
import pytest
from scipy.stats import binomtest
from statsmodels.stats.contingency_tables import mcnemar as of_statsmodels

from pipeline.clinical.paired import auroc_figures, compare, mcnemar, sign_flips
from pipeline.clinical.ranking import ranked
from pipeline.clinical.resampling import SAME, draw
from pipeline.clinical.verdict import sentence, transfer_verdict


def resamples(patients, n=400):
    return draw([f"p{p}" for p in patients], n, 0.95, 1)


def models(seed, patients, units=1, edge=0.8):
    rng = np.random.default_rng(seed)
    labels = np.repeat(np.arange(patients) % 2, units)
    shared = np.repeat(rng.normal(size=patients), units)
    scores = [shared + rng.normal(size=len(labels)) + strength * labels for strength in (1 + edge, 1)]
    return labels, scores, resamples(np.repeat(np.arange(patients), units))


def test_delong_and_the_jackknife_agree_where_both_hold():
    labels, scores, drawn = models(0, 200)
    delong = compare(*(ranked(labels, each, drawn) for each in scores))
    # Two classes alike: their mean is the same figure, but by the jackknife.
    doubled = [ranked(np.stack([labels] * 2, 1), np.stack([each] * 2, 1), drawn) for each in scores]
    drawn_test = compare(*doubled)
    assert delong.difference.method == "DeLong, paired"
    assert drawn_test.difference.method == "jackknife of patients, paired"
    assert drawn_test.difference.value == pytest.approx(delong.difference.value)
    assert drawn_test.difference.low == pytest.approx(delong.difference.low, abs=0.01)
    assert np.log10(drawn_test.p_value) == pytest.approx(np.log10(delong.p_value), abs=0.5)


@pytest.mark.parametrize("units", [1, 3])
def test_the_interval_leaves_out_nought_exactly_where_p_is_small(units):
    seen = set()
    for seed in range(12):
        labels, scores, drawn = models(seed, 60, units, edge=0.5)
        test = compare(*(ranked(labels, each, drawn) for each in scores))
        small = bool(test.p_value < 0.05)
        assert small == (test.difference.low > 0 or test.difference.high < 0)
        seen.add(small)
    assert seen == {True, False}


@pytest.mark.parametrize("units", [1, 2])
def test_p_is_small_in_five_percent_where_models_are_equal(units):
    small = 0
    for seed in range(200):
        labels, scores, drawn = models(seed, 60, units, edge=0.0)
        drawn = resamples(np.repeat(np.arange(60), units), 200)
        small += compare(*(ranked(labels, each, drawn) for each in scores)).p_value < 0.05
    assert 2 <= small <= 20


@pytest.mark.parametrize("units", [1, 2])
@pytest.mark.parametrize("answers", ["perfect", "constant", "alike"])
def test_a_difference_that_no_patient_moves_is_no_proof_of_equality(units, answers):
    labels, scores, drawn = models(1, 40, units)
    both = {"perfect": [labels, 3 * labels], "constant": [0 * labels, 0 * labels], "alike": [scores[0]] * 2}
    test = compare(*(ranked(labels, each, drawn) for each in both[answers]))
    assert (test.difference.value, test.difference.reason) == (0, SAME)
    assert np.isnan([test.difference.low, test.difference.high, test.p_value]).all()
    assert transfer_verdict(test.difference) is None
    assert sentence(test.difference, 0.95) == f"Whether transfer helped cannot be said: {SAME}."


def test_what_cannot_be_tested_says_why():
    labels = np.array([0, 0, 1, 1])
    perfect, constant = labels.astype(float), np.zeros(4)
    drawn = resamples(range(4))
    found = auroc_figures(ranked(labels, perfect, drawn), ranked(labels, constant, drawn))
    assert found["auroc"]["value"] == 0.5
    assert "all scores are equal" in found["auroc"]["reason"]
    assert np.isnan(found["p_value"])
    assert found["reason"] == SAME
    one = compare(ranked(np.ones(4, int), perfect, drawn), ranked(np.ones(4, int), constant, drawn))
    assert np.isnan(one.p_value)
    assert one.difference.reason == "only one class among the units"


@pytest.mark.parametrize(("only", "lost"), [(9, 2), (5, 5), (0, 0), (40, 20)])
def test_mcnemar_of_one_unit_each_is_that_of_statsmodels(only, lost):
    right = np.array([True] * only + [False] * lost + [True] * 10)
    other = np.array([False] * only + [True] * lost + [True] * 10)
    found = mcnemar(right, other, resamples(range(len(right))))
    exact = only + lost <= 25
    expected = of_statsmodels([[10, only], [lost, 0]], exact=exact, correction=True).pvalue
    assert found["p_value"] == pytest.approx(expected, abs=1e-6)
    assert (found["only_this"], found["only_other"]) == (only, lost)


def test_flipped_signs_are_mcnemars_exact_test_where_each_patient_has_one():
    assert sign_flips(np.array([1.0] * 9 + [-1.0] * 2)) == pytest.approx(binomtest(9, 11).pvalue)
    assert sign_flips(np.empty(0)) == 1


def test_flipped_signs_are_counted_one_by_one():
    sums = np.array([3.0, 1, -2, 1, 4])
    totals = [abs(np.dot(signs, np.abs(sums))) for signs in product([1, -1], repeat=5)]
    assert sign_flips(sums) == pytest.approx(np.mean([total >= abs(sums.sum()) for total in totals]))


def test_ten_slices_of_a_patient_are_one_patient_to_mcnemar():
    right = np.repeat([True] * 6 + [False], 10)
    found = mcnemar(right, ~right, resamples(np.repeat(np.arange(7), 10)))
    assert found["p_value"] == pytest.approx(binomtest(6, 7).pvalue, abs=1e-6)
    assert mcnemar(right, ~right, resamples(range(70)))["p_value"] < 1e-5  # what units would claim


def test_many_patients_are_set_against_their_variance():
    rng = np.random.default_rng(2)
    right, other = rng.random(400) < 0.8, rng.random(400) < 0.7
    patients = np.repeat(np.arange(200), 2)
    found = mcnemar(right, other, resamples(patients))
    assert found["method"] == "McNemar, clustered by patient"
    assert found["p_value"] == pytest.approx(mcnemar(right, other, resamples(range(400)))["p_value"], abs=0.02)
