from __future__ import annotations

import pytest

from pipeline.dicom.patient import AGE_CAP_YEARS, age_years


@pytest.mark.parametrize(
    ("age", "birth", "study", "years"),
    [
        ("045Y", "", "", 45),
        ("018M", "", "", 1),
        ("012M", "", "", 1),
        ("100W", "", "", 1),
        ("400D", "", "", 1),
        ("095Y", "", "", AGE_CAP_YEARS),
        ("", "19800615", "20200614", 39),
        ("", "19800615", "20200615", 40),
        ("", "19000101", "20200101", AGE_CAP_YEARS),
        ("old", "19800615", "20200615", 40),
        ("", "20210101", "20200101", None),
        ("", "", "20200101", None),
        ("", "", "", None),
    ],
)
def test_age(age, birth, study, years):
    assert age_years(age, birth, study) == years
