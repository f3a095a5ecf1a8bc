"""The short form of `python -m tests.benchmarks.coverage`: intervals hold the truth about as often as they say."""

import pytest

from tests.benchmarks.coverage import Setting, covered

RUNS = 300  # a coverage of 95 % is then measured to 1.3 points; bounds are three of these away


@pytest.mark.parametrize("setting", [Setting(100), Setting(60, 3, 0.6), Setting(60, 4, 0.5, mixed=True)])
def test_intervals_hold_the_truth(setting):
    auroc, sensitivity = covered(setting, RUNS, 300, 1)
    assert 0.91 <= auroc <= 0.985
    assert 0.91 <= sensitivity <= 0.985


def test_units_taken_as_independent_would_claim_too_much():
    assert max(covered(Setting(60, 4, 0.8), RUNS, 100, 1, naive=True)) < 0.88
