"""How many more patients."""

import numpy as np
import pytest

from pipeline.clinical.resampling import wilson
from pipeline.clinical.sample_size import figures


def test_half_the_width_takes_four_times_as_many():
    found = figures({"auroc": {"low": 0.7, "high": 0.9}}, 50, 0.1)["auroc"]
    assert found == {"width": 0.2, "wanted": 0.1, "patients": 50, "patients_needed": 200, "more": 150}


def test_so_many_do_give_the_wanted_width():
    low, high = wilson(40, 50, 0.95)
    needed = figures({"sensitivity": {"low": low, "high": high}}, 50, 0.1)["sensitivity"]["patients_needed"]
    low, high = wilson(0.8 * needed, needed, 0.95)
    assert high - low == pytest.approx(0.1, abs=0.005)


def test_enough_is_enough():
    assert figures({"auroc": {"low": 0.86, "high": 0.9}}, 500, 0.1)["auroc"]["more"] == 0


def test_without_an_interval_there_is_a_reason_and_no_number():
    found = figures({"auroc": {"low": np.nan, "high": np.nan, "reason": "one class"}}, 5, 0.1)["auroc"]
    assert found["reason"] == "one class"
    assert "more" not in found
