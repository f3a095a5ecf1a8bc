from __future__ import annotations

from datetime import datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.dicom.clock import MOST_DAYS, MOST_SECONDS, Clock

CLOCKS = st.builds(Clock, st.integers(1, MOST_DAYS), st.integers(1, MOST_SECONDS))
MOMENTS = st.datetimes(datetime(1950, 1, 1), datetime(2100, 1, 1)).map(lambda moment: moment.replace(microsecond=0))


def moved(clock, moment):
    """Date and time of a moment that is written as DA and TM, moved."""
    day, time = f"{moment:%Y%m%d}", f"{moment:%H%M%S}"
    return datetime.strptime(f"{clock.date(day, time)}{clock.time(time)}", "%Y%m%d%H%M%S")


@given(CLOCKS, MOMENTS, MOMENTS)
def test_intervals_are_kept_to_the_second_and_no_value_stays(clock, first, second):
    assert moved(clock, second) - moved(clock, first) == second - first
    assert datetime.strptime(clock.moment(f"{first:%Y%m%d%H%M%S}"), "%Y%m%d%H%M%S") == moved(clock, first)
    assert moved(clock, first) == first - timedelta(days=clock.days) + timedelta(seconds=clock.seconds)
    assert clock.time(f"{first:%H%M%S}") != f"{first:%H%M%S}"


@given(CLOCKS, st.dates(datetime(1950, 1, 1).date()), st.integers(-4000, 4000))
def test_dates_alone_keep_their_intervals_and_lie_in_the_past(clock, day, days):
    other = max(day, day + timedelta(days=days)) if day.year < 9980 else day
    dates = [datetime.strptime(clock.date(f"{one.year:04d}{one:%m%d}"), "%Y%m%d").date() for one in (day, other)]
    assert dates[1] - dates[0] == other - day
    assert dates[0] < day


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("20210617093000.123456", "20210616094000.123456"),
        ("20210617093000.5+0200", "20210616094000.5"),
        ("20210617", "20210616"),
        ("202106", "202105"),
        ("2021", "2020"),
        ("20210617235959", "20210617000959"),
        ("2021061709", "20210616091000"),
        ("20210230", None),
        ("17 June 2021", None),
        ("JANE", None),
    ],
)
def test_moments(text, expected):
    assert Clock(1, 600).moment(text) == expected


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("093000", "094000"),
        ("093000.123456", "094000.123456"),
        ("09:30:00", "094000"),
        ("0930", "094000"),
        ("09", "091000"),
        ("235500", "000500"),
        ("235960", "000959"),
        ("250000", None),
        ("half past nine", None),
        ("", None),
    ],
)
def test_times(text, expected):
    assert Clock(1, 600).time(text) == expected


@pytest.mark.parametrize(
    ("date", "time", "expected"),
    [
        ("20210617", "", "20210616"),
        ("2021.06.17", "", "20210616"),
        ("20210301", "", "20210228"),
        ("20210617", "235500", "20210617"),
        ("20210617", "nonsense", "20210616"),
        ("00010101", "", None),
        ("20211301", "", None),
        ("DOE", "", None),
    ],
)
def test_dates(date, time, expected):
    assert Clock(1, 600).date(date, time) == expected
