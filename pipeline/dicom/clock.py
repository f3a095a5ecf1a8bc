"""One patient's clock: dates and times moved by a secret amount, the intervals between them kept.

The amount is the same for all that is the patient's: whole days into the past and less than an hour forward, so that no
date lies in the future, no time of day stays as it was, and the order of events is theirs (PS3.15 E.3.6, retain
longitudinal temporal information with modified dates).
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import datetime, timedelta

#: Days and seconds that a clock may be moved by, each at least 1.
MOST_DAYS, MOST_SECONDS = 3652, 3599

_DATE = re.compile(r"(\d{4})[.]?(\d{2})[.]?(\d{2})")
_TIME = re.compile(r"(\d{2}):?(\d{2})?:?(\d{2})?(\.\d{1,6})?")
_DATETIME = re.compile(r"(\d{4})(\d{2})?(\d{2})?(\d{2})?(\d{2})?(\d{2})?(\.\d{1,6})?([+-]\d{4})?")


@dataclass(frozen=True)
class Clock:
    """How far a patient's time is moved.

    Attributes:
        days: into the past, 1 to `MOST_DAYS`.
        seconds: forward, 1 to `MOST_SECONDS`.
    """

    days: int
    seconds: int

    def date(self, date: str, time: str = "") -> str | None:
        """A DA moved; with the TM that belongs to it, for those that pass midnight. None if it is no date."""
        match = _DATE.fullmatch(date.strip())
        clock = _time(time)
        try:
            day = datetime(int(match[1]), int(match[2]), int(match[3])) if match else None
            if day is None:
                return None
            moved = self._move(day + (clock[0] if clock else timedelta()), seconds=clock is not None)
        except (ValueError, OverflowError):
            return None
        return f"{moved.year:04d}{moved:%m%d}"

    def time(self, time: str) -> str | None:
        """A TM moved, around midnight where need be, to the second or finer. None if it is no time."""
        clock = _time(time)
        if clock is None:
            return None
        moved = datetime(2000, 1, 1) + clock[0] + timedelta(seconds=self.seconds)
        return f"{moved:%H%M%S}{clock[1]}"

    def moment(self, text: str) -> str | None:
        """A DT moved; its offset from UTC is dropped. As fine as it came, but a time of day to the second."""
        match = _DATETIME.fullmatch(text.strip())
        if not match:
            return None
        year, month, day, hour, minute, second = (int(part) if part else None for part in match.groups()[:6])
        try:
            start = datetime(
                year or 0, 1 if month is None else month, 1 if day is None else day, hour or 0, minute or 0
            ) + timedelta(seconds=min(second or 0, 59))
            moved = self._move(start, seconds=hour is not None)
        except (ValueError, OverflowError):
            return None
        if hour is not None:
            return f"{moved.year:04d}{moved:%m%d%H%M%S}{match[7] or ''}"
        return f"{moved.year:04d}{moved:%m%d}"[: 8 if day is not None else 6 if month is not None else 4]

    def _move(self, moment: datetime, seconds: bool) -> datetime:
        return moment - timedelta(days=self.days) + timedelta(seconds=self.seconds if seconds else 0)


def _time(text: str) -> tuple[timedelta, str] | None:
    """Whole seconds since midnight, and the fraction as written. A leap second counts as the one before."""
    match = _TIME.fullmatch(text.strip())
    if not match:
        return None
    hours, minutes, seconds = (int(part or 0) for part in match.groups()[:3])
    if hours > 23 or minutes > 59 or seconds > 60:
        return None
    return timedelta(hours=hours, minutes=minutes, seconds=min(seconds, 59)), match[4] or ""
