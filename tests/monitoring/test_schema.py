"""What a report may hold, and what it refuses."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone
from typing import Any

import pytest
from pydantic import ValidationError

from pipeline.dicom import vendor
from pipeline.monitoring.schema import MANUFACTURERS, StudyReport
from tests import observed

(REPORT,) = observed.reported(observed.studies(1, 0))


def test_the_words_are_those_that_ingest_knows() -> None:
    assert {*vendor._MARKS, "other", "unknown"} == set(MANUFACTURERS)


@pytest.mark.parametrize(
    "values",
    [
        {"patient_id": "DOE"},
        {"PatientBirthDate": "19500101"},
        {"study_uid": "1.2.3"},
        {"manufacturer": "Dr. Doe's scanner"},
        {"field_strength_t": 2.89},
        {"quality": "Jane Doe moved"},
        {"release_sha256": "Jane Doe"},
        {"hour": datetime(2026, 1, 1, 12, 30, tzinfo=UTC)},
        {"hour": datetime(2026, 1, 1, 12, tzinfo=timezone(timedelta(hours=1)))},
        {"hour": datetime(2026, 1, 1, 12)},
        {"probabilities": (1.2,)},
        {"probabilities": (float("nan"),)},
        {"embedding": (float("inf"),)},
        {"intensity": (5.0, 4.0, 3.0, 2.0, 1.0)},
        {"decisions": (True, False)},
        {"series": 0},
        {"schema_version": 2},
    ],
    ids=lambda values: next(iter(values)),
)
def test_what_could_name_somebody_or_is_no_measurement_is_refused(values: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        StudyReport.model_validate(REPORT.model_dump() | values)


def test_a_report_is_the_same_after_json() -> None:
    assert StudyReport.model_validate_json(REPORT.model_dump_json()) == REPORT
