"""What of a patient may stay: the age in whole years, capped."""

from __future__ import annotations

import re

#: Older ages identify (HIPAA 45 CFR 164.514(b)(2)(i)(C) puts those over 89 into one group).
AGE_CAP_YEARS = 90

_YEARS_PER_UNIT = {"D": 1 / 365.25, "W": 7 / 365.25, "M": 1 / 12, "Y": 1.0}


def age_years(age: str, birth_date: str, study_date: str) -> int | None:
    """Whole years from PatientAge (AS, PS3.5 6.2), else from PatientBirthDate and StudyDate (DA); at most 90.

    None where neither tells.
    """
    match = re.fullmatch(r"(\d{1,3})([DWMY])", age.strip())
    if match:
        return min(int(int(match[1]) * _YEARS_PER_UNIT[match[2]]), AGE_CAP_YEARS)
    if not all(re.fullmatch(r"\d{8}", date) for date in (birth_date, study_date)):
        return None
    years = int(study_date[:4]) - int(birth_date[:4]) - (study_date[4:] < birth_date[4:])
    return min(years, AGE_CAP_YEARS) if years >= 0 else None


def capped_age(age: str, birth_date: str, study_date: str) -> str:
    """PatientAge (AS) to write: as it stands, or from the dates; at most 90 years; empty where unknown."""
    years = age_years(age, birth_date, study_date)
    if years is None:
        return ""
    stays = re.fullmatch(r"\d{3}[DWMY]", age.strip()) and years < AGE_CAP_YEARS
    return age.strip() if stays else f"{years:03d}Y"
