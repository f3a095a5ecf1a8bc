"""The short form of `python -m tests.benchmarks.coverage`: intervals hold the truth about as often as they say."""

import pytest

from tests.benchmarks.coverage import Setting, covered

RUNS = 300  # a coverage of 95 % is then measured to 1.3 points; bounds are three of these away


@pytest.mark.parametrize("setting", [Setting(100), Setting(60, 3, 0.6), Setting(60, 4, 0.5, mixed=True)])
def test_intervals_hold_the_truth(setting):
    for name, share in covered(setting, RUNS, 300, 1).items():
        # That of average precision allows for another share of positives, which is fixed in two of the settings.
        assert 0.91 <= share <= (1 if name == "average precision" else 0.985), name


@pytest.mark.parametrize("units", [10, 20])
def test_few_errors_of_few_patients_are_not_taken_for_independent(units):
    """Twenty positive patients whose slices are nearly alike: their errors alone would let it hold in 84 to 88 %."""
    assert covered(Setting(40, units, 0.8, sensitivity=0.95), RUNS, 2, 1)["sensitivity"] >= 0.94


def test_units_taken_as_independent_would_claim_too_much():
    assert max(covered(Setting(60, 4, 0.8), RUNS, 100, 1, naive=True).values()) < 0.88
