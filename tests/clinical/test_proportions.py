"""Shares of units, and their intervals."""

import numpy as np
import pytest
from statsmodels.stats.proportion import proportion_confint

from pipeline.clinical.proportions import residuals, share
from pipeline.clinical.resampling import FEW, draw


def resamples(patients):
    return draw([f"p{p}" for p in patients], 100, 0.95, 1)


def test_one_unit_a_patient_gives_wilsons_interval_as_statsmodels():
    hits = np.arange(50) < 41
    found = share(hits, np.ones(50, bool), "", resamples(range(50)))
    expected = proportion_confint(41, 50, method="wilson")
    assert (found.low, found.high) == pytest.approx(expected)
    assert found.method == "Wilson"


def test_units_that_tell_nothing_of_each_other_keep_nearly_wilsons_interval():
    rng = np.random.default_rng(0)
    hits, everyone = rng.random(600) < 0.8, np.ones(600, bool)
    clustered = share(hits, everyone, "", resamples(np.arange(600) // 2))
    assert (clustered.low, clustered.high) == pytest.approx(
        proportion_confint(hits.sum(), 600, method="wilson"), abs=0.01
    )


def test_copies_of_a_unit_count_once():
    """Ten copies of each answer: a design effect of ten, so it is the interval of the patients, but for Student's t."""
    once = np.arange(200) < 150
    hits = np.repeat(once, 10)
    found = share(hits, np.ones(2000, bool), "", resamples(np.arange(2000) // 10))
    expected = proportion_confint(150, 200, method="wilson")
    assert (found.low, found.high) == pytest.approx(expected, abs=0.002)
    assert found.n == 2000


def test_the_variance_is_that_of_the_linearised_ratio_by_hand():
    """Hits 2 of 2, 1 of 3, 0 of 1: share 1/2; residuals 1, -1/2, -1/2 over 6 units."""
    hits = np.array([1, 1, 1, 0, 0, 0], bool)
    found = residuals(hits, np.ones(6, bool), resamples([0, 0, 1, 1, 1, 2]))
    assert found.tolist() == pytest.approx([1 / 6, -0.5 / 6, -0.5 / 6])


def test_one_patient_alone_has_a_share_and_no_interval():
    found = share(np.array([True, False]), np.ones(2, bool), "", resamples([0, 0]))
    assert (found.value, found.reason) == (0.5, "all these units are of one patient")
    assert np.isnan([found.low, found.high]).all()


def test_nothing_to_share_is_undefined_with_its_reason():
    found = share(np.zeros(3, bool), np.zeros(3, bool), "no such unit", resamples(range(3)))
    assert np.isnan(found.value)
    assert found.reason == "no such unit"


@pytest.mark.parametrize("hit", [True, False])
def test_all_or_none_has_patients_as_trials(hit):
    found = share(np.full(30, hit), np.ones(30, bool), "", resamples(np.arange(30) // 3))
    low, high = proportion_confint(10 * hit, 10, method="wilson")
    assert (found.low, found.high) == pytest.approx((low, high))


@pytest.mark.parametrize(("patients", "units"), [(20, 4), (20, 20), (60, 5)])
@pytest.mark.parametrize("spread", [True, False])
def test_errors_of_one_or_two_patients_never_make_a_share_look_better(patients, units, spread):
    """An error each, or all of the first one."""
    count = patients * units
    errors = np.arange(count).reshape(patients, units).T.ravel() if spread else np.arange(count)
    everyone, drawn = np.ones(count, bool), resamples(np.arange(count) // units)
    hits, lows, highs = everyone.copy(), [], []
    for place in errors[: FEW if spread else units + 1]:
        found, mirrored = share(hits, everyone, "", drawn), share(~hits, everyone, "", drawn)
        assert (mirrored.low, mirrored.high) == pytest.approx((1 - found.high, 1 - found.low))
        lows.append(found.low)
        highs.append(found.high)
        hits[place] = False
    assert lows[0] == pytest.approx(proportion_confint(patients, patients, method="wilson")[0])
    assert max(lows) == lows[0]
    assert max(highs) == highs[0] == 1


def test_a_mean_of_classes_without_an_error_is_bounded_by_those_of_the_classes():
    """A class of 4 patients among many others: its own bound moves a third of the mean."""
    among = np.zeros((204, 3), bool)
    among[:4, 0], among[4:104, 1], among[104:, 2] = True, True, True
    found = share(among, among, "", resamples(range(204)))
    few, many = (proportion_confint(n, n, method="wilson")[0] for n in (4, 100))
    assert found.low == pytest.approx(1 - np.sqrt((1 - few) ** 2 + 2 * (1 - many) ** 2) / 3)


def test_errors_of_several_patients_say_how_they_vary():
    """An error in each of ten patients of 40 is no proof of clustering, and the units count for more than patients."""
    hits = np.ones(400, bool)
    hits[::40] = False
    found = share(hits, np.ones(400, bool), "", resamples(np.arange(400) // 10))
    assert proportion_confint(40, 40, method="wilson")[0] < found.low < proportion_confint(390, 400, method="wilson")[0]
