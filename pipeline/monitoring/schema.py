"""What a box reports of a study that it answered: numbers and known words, nothing that names anybody.

No name, ID, date of birth, UID, pseudonym or free text has a place here, and a key that is not here is refused.
"""

from __future__ import annotations

from datetime import timedelta
from typing import Annotated, Literal, get_args

from pydantic import AwareDatetime, ConfigDict, Field, field_validator, model_validator

from pipeline.strict import Strict

#: Raised when an older reader would misunderstand a report.
SCHEMA_VERSION: Literal[1] = 1

#: The words of `pipeline.dicom.vendor`; `unknown` where a header has none.
Manufacturer = Literal[
    "GE",
    "Siemens",
    "Philips",
    "Hitachi",
    "Fujifilm",
    "Bruker",
    "Esaote",
    "Hyperfine",
    "Canon",
    "UIH",
    "other",
    "unknown",
]
MANUFACTURERS: tuple[str, ...] = get_args(Manufacturer)
Quality = Literal["passed", "flagged", "not_assessed"]
#: Of a volume's voxels inside the head, and their places in `Observed.intensity`.
PERCENTILES = (5.0, 25.0, 50.0, 75.0, 95.0)

Probability = Annotated[float, Field(ge=0, le=1)]
Sha256 = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]


class Observed(Strict):
    """What a release saw of one study.

    Attributes:
        manufacturer: of the scanner.
        field_strength_t: to the nearest half tesla, so 2.89 is 3 and 0.064 is 0; None where the header has none.
        series, slices: how many were answered.
        intensity: `PERCENTILES` of the voxels inside the head as they are displayed, before normalisation; of several
            volumes the median of each.
        seen: mean and standard deviation of the prepared slices' pixels, 0 to 1.
        embedding: (F,) mean of the network's features over the slices.
        probabilities: (K,) calibrated; of a study of several units the highest of each class.
        decisions: (K,) whether the class is said to be there.
    """

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)

    manufacturer: Manufacturer
    field_strength_t: Annotated[float, Field(ge=0, le=25, multiple_of=0.5)] | None
    series: Annotated[int, Field(gt=0)]
    slices: Annotated[int, Field(gt=0)]
    intensity: tuple[float, float, float, float, float]
    seen: tuple[Probability, Probability]
    embedding: Annotated[tuple[float, ...], Field(min_length=1, max_length=16384)]
    probabilities: Annotated[tuple[Probability, ...], Field(min_length=1, max_length=1000)]
    decisions: tuple[bool, ...]

    @model_validator(mode="after")
    def _consistent(self) -> Observed:
        if list(self.intensity) != sorted(self.intensity):
            raise ValueError("intensity must not fall from percentile to percentile")
        if len(self.decisions) != len(self.probabilities):
            raise ValueError("decisions must be as many as probabilities")
        return self


class StudyReport(Observed):
    """One line of a box's reports.

    Attributes:
        hour: when the study was answered, UTC, cut to the hour.
        release_sha256: of the release's SHA256SUMS.
        refused: series of the study that were not answered.
        quality: the outcome of quality control, where the box does any.
    """

    schema_version: Literal[1] = SCHEMA_VERSION
    hour: AwareDatetime
    release_sha256: Sha256
    refused: Annotated[int, Field(ge=0)]
    quality: Quality

    @field_validator("hour")
    @classmethod
    def _coarse(cls, hour: AwareDatetime) -> AwareDatetime:
        if hour.utcoffset() != timedelta(0) or (hour.minute, hour.second, hour.microsecond) != (0, 0, 0):
            raise ValueError("hour must be a full hour in UTC: a minute could tell which patient it was")
        return hour
