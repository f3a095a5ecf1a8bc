"""The parts of params.yaml that say how a network is chosen and trained; `pipeline.config` holds the whole."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, Field, model_validator

from pipeline.contract import Pooling, Strict

Fraction = Annotated[float, Field(ge=0, le=1)]
Positive = Annotated[int, Field(gt=0)]


def _absolute_if_outside(path: Path) -> Path:
    """Relative paths out of the project break in the temporary checkouts that DVC makes."""
    if not path.is_absolute() and ".." in path.parts:
        raise ValueError("a path outside the project must be absolute")
    return path


InputPath = Annotated[Path, AfterValidator(_absolute_if_outside)]


class Backbone(Strict):
    """The pre-trained network; `sha256` pins its file, and `licence` is that of a `file`: others state their own."""

    name: str
    weights: Literal["file", "hub", "embedded"]
    file: InputPath
    sha256: Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")] | None = None
    licence: Annotated[str, Field(min_length=1)] | None = None
    allow_non_commercial: bool = True
    options: dict[str, Any] = Field(default_factory=dict)
    mean: tuple[float, float, float] | None = None
    std: tuple[float, float, float] | None = None


class Candidate(Backbone):
    """Another backbone that `features` compares with the chosen one; of a file DVC knows only what stands here."""

    file: InputPath = Path("models/weights")

    @model_validator(mode="after")
    def _pinned(self) -> Candidate:
        if self.weights == "file" and self.sha256 is None:
            raise ValueError(f"{self.name!r} with weights: file needs the file's sha256, by which DVC sees a change")
        return self


class Features(Strict):
    """Frozen features by layer, the logistic probe on them, and other backbones to compare."""

    batch_slices: Positive
    probe_c: Annotated[list[Annotated[float, Field(gt=0)]], Field(min_length=1)]
    layers: Annotated[list[str], Field(min_length=1)] | None = None
    candidates: list[Candidate] = Field(default_factory=list)
    cache_gigabytes: Annotated[float, Field(gt=0)] = 20.0


class Phase(Strict):
    """One phase of fine-tuning.

    Attributes:
        trunk: what learns beside the head: the top share of the trunk's blocks, or the block from which on all learn.
    """

    name: str
    trunk: Fraction | str
    epochs: Positive
    learning_rate: Annotated[float, Field(gt=0)]


class Mixup(Strict):
    """Mixing pairs of units (Zhang et al. 2018, ICLR; in feature space: Verma et al. 2019, ICML).

    Attributes:
        alpha: of the Beta distribution that a unit's share is drawn from; 0: no mixing.
        at: `slices` that go into the network, or `features` before the head.
    """

    alpha: Annotated[float, Field(ge=0)]
    at: Literal["slices", "features"]


class Recordings(Strict):
    """While only the top of the trunk learns, what the frozen part gives is computed a few times and kept on disk.

    Attributes:
        copies: differently augmented draws of the training slices; 0: none, the frozen part runs in every step.
        gigabytes: that they may take in `cache_dir`; fewer copies, or none, where they would take more.
    """

    copies: Annotated[int, Field(ge=0)]
    gigabytes: Annotated[float, Field(ge=0)]


class Finetune(Strict):
    """Phases from the head up, and how each step is made."""

    pooling: Pooling
    phases: Annotated[list[Phase], Field(min_length=1)]
    layer_decay: Annotated[float, Field(gt=0, le=1)]
    warmup: Fraction
    patience: Positive
    batch_slices: Positive
    slices_per_unit: Positive
    accumulate: Positive
    weight_decay: Annotated[float, Field(ge=0)]
    dropout: Fraction
    label_smoothing: Annotated[float, Field(ge=0, lt=1)]
    class_weights: bool
    mixup: Mixup
    average: Annotated[float, Field(gt=0, lt=1)] | None
    augment: bool
    recordings: Recordings
    precision: Literal["bf16", "fp16", "fp32"]
    compile: bool
    processes: Positive

    @model_validator(mode="after")
    def _falling(self) -> Finetune:
        for before, after in pairwise(self.phases):
            if after.learning_rate >= before.learning_rate:
                raise ValueError(
                    f"finetune.phases: {after.name!r} has learning_rate {after.learning_rate:g}, which is not below "
                    f"{before.learning_rate:g} of {before.name!r}; rates must fall from the head up"
                )
            shares = (before.trunk, after.trunk)
            if all(isinstance(share, float) for share in shares) and shares[1] < shares[0]:  # type: ignore[operator]
                raise ValueError(f"finetune.phases: {after.name!r} unfreezes less of the trunk than {before.name!r}")
        return self


class Scratch(Strict):
    """The control without transfer; `epochs` null: as many as those phases of `finetune` that train the trunk have."""

    epochs: Positive | None
    learning_rate: Annotated[float, Field(gt=0)]
