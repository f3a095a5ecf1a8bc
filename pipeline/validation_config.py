"""The parts of params.yaml that say how a model is calibrated, validated and accepted; `pipeline.config` holds all."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, StringConstraints, model_validator

from pipeline.strict import Strict
from pipeline.training_config import Fraction, InputPath


class ThresholdRule(Strict):
    """How the operating threshold is chosen on validation patients."""

    rule: Literal["youden", "sensitivity"]
    target: Fraction | None = None

    @model_validator(mode="after")
    def _target_given(self) -> ThresholdRule:
        if self.rule == "sensitivity" and self.target is None:
            raise ValueError("calibrate.threshold: rule `sensitivity` needs a target, for example 0.9")
        return self


class Calibrate(Strict):
    """Calibration on validation patients."""

    threshold: ThresholdRule


class Validate(Strict):
    """Metrics on test patients.

    Attributes:
        masks: a folder of lesions drawn on volumes, named as in data/ingested/volumes.
    """

    bootstrap: Annotated[int, Field(ge=100)]
    confidence: Annotated[float, Field(gt=0.5, lt=1)]
    masks: InputPath | None = None


class Waiver(Strict):
    """Who lets a model pass that misses a criterion, and why; both stand in everything that is written about it."""

    by: Annotated[str, StringConstraints(strip_whitespace=True, min_length=1)]
    reason: Annotated[str, StringConstraints(strip_whitespace=True, min_length=1)]


class Criterion(Strict):
    """One acceptance criterion: a figure of reports/metrics.json by its dotted name, and its bound."""

    metric: str
    min: float | None = None
    max: float | None = None
    not_equal: str | None = None
    waiver: Waiver | None = None

    @model_validator(mode="after")
    def _one_bound(self) -> Criterion:
        if sum(bound is not None for bound in (self.min, self.max, self.not_equal)) != 1:
            raise ValueError(f"accept: {self.metric} needs exactly one of min, max and not_equal")
        return self
