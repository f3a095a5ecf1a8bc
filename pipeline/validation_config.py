"""The parts of params.yaml that say how a model is calibrated, validated and accepted; `pipeline.config` holds all."""

from __future__ import annotations

import difflib
import math
from types import MappingProxyType
from typing import Annotated, Any, Literal

from pydantic import Field, StringConstraints, model_validator

from pipeline.strict import Strict
from pipeline.training_config import Fraction, InputPath


class ThresholdRule(Strict):
    """How the operating threshold is chosen on validation patients.

    Attributes:
        rule: `sensitivity`, `specificity`: what must be reached there; `youden`: largest sum of both; `cost`: least
            expected cost.
        target: of sensitivity or specificity.
        miss_to_false_alarm: of `cost`, how many false alarms are as bad as one miss.
        prevalence: of `cost`, the share of positives where the model will be used. None: that of validation.
    """

    rule: Literal["youden", "sensitivity", "specificity", "cost"]
    target: Fraction | None = None
    miss_to_false_alarm: Annotated[float, Field(gt=0, allow_inf_nan=False)] | None = None
    prevalence: Annotated[float, Field(gt=0, lt=1)] | None = None

    @model_validator(mode="after")
    def _target_given(self) -> ThresholdRule:
        with_target, with_cost = self.rule in ("sensitivity", "specificity"), self.rule == "cost"
        if with_target != (self.target is not None):
            needs = "needs a target, for example 0.9" if with_target else "has no target"
            raise ValueError(f"calibrate.threshold: rule `{self.rule}` {needs}")
        if with_cost != (self.miss_to_false_alarm is not None):
            needs = "needs miss_to_false_alarm, for example 10" if with_cost else "has no miss_to_false_alarm"
            raise ValueError(f"calibrate.threshold: rule `{self.rule}` {needs}")
        if self.prevalence is not None and not with_cost:
            raise ValueError(f"calibrate.threshold: rule `{self.rule}` has no prevalence")
        return self


class Calibrate(Strict):
    """Calibration on validation patients: how logits become probabilities, and these a decision.

    Attributes:
        neighbours_sd: where slices are labelled, see `calibrator.Calibration`.
    """

    calibrator: Literal["temperature", "isotonic"] = "temperature"
    neighbours_sd: Annotated[float, Field(ge=0, le=5)] = 0.0
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
        bootstrap: resamples of the patients; fewer than 2,000 are for trials of the pipeline.
        confidence: of every interval.
        masks: a folder of lesions drawn on volumes, named as in data/ingested/volumes.
        prevalences: at which predictive values are given, three or more.
        interval_width: wanted of the figures under `sample_size`.
        aggregate: how probabilities of parts make one of the whole, at levels above the labels' own.
        compare: other models, by their predictions.
        small_group: patients, below which a subgroup is flagged as small.
    """

    bootstrap: Annotated[int, Field(ge=100)]
    confidence: Annotated[float, Field(gt=0.5, lt=1)]
    masks: InputPath | None = None
    prevalences: list[Annotated[float, Field(gt=0, lt=1)]] = Field(
        default_factory=lambda: [0.01, 0.1, 0.3], min_length=3
    )
    interval_width: Annotated[float, Field(gt=0, lt=1)] = 0.10
    aggregate: Literal["max", "mean"] = "max"
    compare: list[Compared] = Field(default_factory=list)
    small_group: Annotated[int, Field(gt=0)] = 20

    @model_validator(mode="after")
    def _named_once(self) -> Validate:
        if len({other.name for other in self.compare}) < len(self.compare):
            raise ValueError("validate.compare: a name stands there twice")
        return self


class Waiver(Strict):
    """Who lets a model pass that misses a criterion, and why; both stand in everything that is written about it."""

    by: Annotated[str, StringConstraints(strip_whitespace=True, min_length=1)]
    reason: Annotated[str, StringConstraints(strip_whitespace=True, min_length=1)]


#: Short names of criteria: the figure of reports/metrics.json, and the kind of bound that the number beside it is.
SHORT = MappingProxyType(
    {
        "auroc": ("finetuned.auroc.value", "min"),
        "auroc_lower_ci": ("finetuned.auroc.low", "min"),
        "average_precision": ("finetuned.average_precision.value", "min"),
        "average_precision_lower_ci": ("finetuned.average_precision.low", "min"),
        "sensitivity": ("operating_point.sensitivity.value", "min"),
        "sensitivity_lower_ci": ("operating_point.sensitivity.low", "min"),
        "specificity": ("operating_point.specificity.value", "min"),
        "specificity_lower_ci": ("operating_point.specificity.low", "min"),
        "ppv": ("operating_point.ppv.value", "min"),
        "ppv_lower_ci": ("operating_point.ppv.low", "min"),
        "npv": ("operating_point.npv.value", "min"),
        "npv_lower_ci": ("operating_point.npv.low", "min"),
        "brier": ("calibration.brier.value", "max"),
        "brier_upper_ci": ("calibration.brier.high", "max"),
        "ece": ("calibration.ece.value", "max"),
        "ece_upper_ci": ("calibration.ece.high", "max"),
        "net_benefit_lower_ci": ("usefulness.net_benefit.low", "min"),
        "auroc_gain": ("transfer.difference", "min"),
        "auroc_gain_lower_ci": ("transfer.low", "min"),
        "near_duplicates": ("leakage.near", "max"),
    }
)


class Criterion(Strict):
    """One acceptance criterion: a figure of reports/metrics.json by its dotted name, and its bound.

    `{sensitivity_lower_ci: 0.85}` is `{metric: operating_point.sensitivity.low, min: 0.85}`, and so on by `SHORT`.
    """

    metric: str
    min: float | None = None
    max: float | None = None
    not_equal: str | None = None
    waiver: Waiver | None = None

    @model_validator(mode="before")
    @classmethod
    def _spelled_out(cls, given: Any) -> Any:
        if not isinstance(given, dict) or "metric" in given:
            return given
        short = [key for key in given if key != "waiver"]
        if len(short) != 1 or short[0] not in SHORT:
            near = difflib.get_close_matches(str(short[0]), SHORT, n=1, cutoff=0.0) if short else []
            found = ", ".join(map(repr, short)) or "no name"
            hint = f"; the nearest short name is `{near[0]}`" if near else ""
            raise ValueError(f"accept: each needs `metric` with a bound, or one short name, not {found}{hint}")
        metric, bound = SHORT[short[0]]
        return {"metric": metric, bound: given[short[0]], **{key: given[key] for key in given if key == "waiver"}}

    @model_validator(mode="after")
    def _one_bound(self) -> Criterion:
        if sum(bound is not None for bound in (self.min, self.max, self.not_equal)) != 1:
            raise ValueError(f"accept: {self.metric} needs exactly one of min, max and not_equal")
        if any(bound is not None and not math.isfinite(bound) for bound in (self.min, self.max)):
            raise ValueError(f"accept: {self.metric} needs a bound that is a number")
        return self
