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


class Compared(Strict):
    """Another model's predictions of the test units; `sha256` pins the file, so that DVC sees a change of it."""

    name: Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9_-]*$")]
    predictions: InputPath
    sha256: Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")] | None = None

    @model_validator(mode="after")
    def _no_model_of_ours(self) -> Compared:
        if self.name in ("finetuned", "scratch", "probe"):
            raise ValueError(f"validate.compare: {self.name} is a model of this run; give the other a name of its own")
        return self


class Validate(Strict):
    """Metrics on test patients.

    Attributes:
        bootstrap: resamples of the patients.
        confidence: of every interval.
        prevalences: at which predictive values are given.
        interval_width: wanted of the figures under `sample_size`.
        aggregate: how probabilities of parts make one of the whole, at levels above the labels' own.
        compare: other models, by their predictions.
    """

    bootstrap: Annotated[int, Field(ge=100)]
    confidence: Annotated[float, Field(gt=0.5, lt=1)]
    prevalences: list[Annotated[float, Field(gt=0, lt=1)]] = Field(default_factory=lambda: [0.01, 0.1, 0.3])
    interval_width: Annotated[float, Field(gt=0, lt=1)] = 0.10
    aggregate: Literal["max", "mean"] = "max"
    compare: list[Compared] = Field(default_factory=list)

    @model_validator(mode="after")
    def _named_once(self) -> Validate:
        if len({other.name for other in self.compare}) < len(self.compare):
            raise ValueError("validate.compare: a name stands there twice")
        return self


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
