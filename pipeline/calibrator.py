"""What turns logits into probabilities and a decision, as the contract has it; `pipeline.targets` carries it out."""

from __future__ import annotations

import hashlib
import json
from itertools import pairwise
from typing import Annotated, Any

from pydantic import Field, model_validator

from pipeline.strict import Strict

Temperature = Annotated[float, Field(gt=0)]
Threshold = Annotated[float, Field(ge=0, le=1)]
Probability = Annotated[float, Field(ge=0, le=1)]


class Knots(Strict):
    """A rising line from logit to probability: straight between its knots, level beyond its ends.

    It is what an isotonic regression comes to, and is carried out by `numpy.interp`.

    Attributes:
        logits: pooled, rising.
        probabilities: at each of them, never falling.
    """

    logits: Annotated[list[float], Field(min_length=1)]
    probabilities: Annotated[list[Probability], Field(min_length=1)]

    @model_validator(mode="after")
    def _rising(self) -> Knots:
        x, y = self.logits, self.probabilities
        if len(x) != len(y) or any(a >= b for a, b in pairwise(x)) or any(a > b for a, b in pairwise(y)):
            raise ValueError("knots need as many probabilities as logits, and both rising")
        return self


class Calibration(Strict):
    """Fixed on validation patients.

    Attributes:
        temperature: what pooled logits are divided by, before the sigmoid (binary, multilabel) or the softmax
            (multiclass); of each class where the task is multilabel. 1 where there are `knots`.
        knots: in place of the sigmoid, the isotonic calibrator of each class (binary: one). None: by temperature.
        threshold: a class is there at and above it; of each class where the task is multilabel. None: the most
            probable class is (multiclass).
        neighbours_sd: of models of slices, of the Gaussian by which the logits of neighbouring slices count, in slices;
            0: each slice stands by itself (`pipeline.inference.neighbours`).
        rule: by which the threshold was chosen, in words.
        model_sha256, split_sha256: what it was fixed for.
        calibration_sha256: `content_sha256`, so that a threshold that was moved since does not pass unnoticed; in what
            `record` writes. None: not written yet.
    """

    temperature: Temperature | list[Temperature]
    knots: Annotated[list[Knots], Field(min_length=1)] | None = None
    threshold: Threshold | list[Threshold] | None
    neighbours_sd: Annotated[float, Field(ge=0, le=5)] = 0.0
    rule: str
    model_sha256: str
    split_sha256: str
    calibration_sha256: str | None = None

    @model_validator(mode="after")
    def _unchanged(self) -> Calibration:
        if self.calibration_sha256 not in (None, self.content_sha256):
            raise ValueError("calibration_sha256 is of another calibrator or threshold: it was changed by hand")
        return self

    @property
    def content_sha256(self) -> str:
        """SHA-256 of what decides, to six decimals, beyond which hardware differs."""
        kept = self.model_dump(include={"temperature", "knots", "neighbours_sd", "threshold"})
        return hashlib.sha256(json.dumps(_rounded(kept), sort_keys=True).encode()).hexdigest()

    def record(self) -> dict[str, Any]:
        """As it stands in models/calibration.json: with its hash."""
        return {**self.model_dump(), "calibration_sha256": self.content_sha256}


def _rounded(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _rounded(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_rounded(item) for item in value]
    return None if value is None else round(float(value), 6) + 0.0  # no negative zero
