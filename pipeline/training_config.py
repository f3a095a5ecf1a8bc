"""The parts of params.yaml that say how a network is chosen and trained; `pipeline.config` holds the whole."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BeforeValidator, Field, field_validator, model_validator

from pipeline.contract import Pooling
from pipeline.strict import Strict

#: In a history, the phase of the first row, before any step.
START = "start"

Fraction = Annotated[float, Field(ge=0, le=1)]
Positive = Annotated[int, Field(gt=0)]


def _absolute_if_outside(path: Path) -> Path:
    """Relative paths out of the project break in the temporary checkouts that DVC makes."""
    if not path.is_absolute() and ".." in path.parts:
        raise ValueError("a path outside the project must be absolute")
    return path


InputPath = Annotated[Path, AfterValidator(_absolute_if_outside)]


class Backbone(Strict):
    """The pre-trained network.

    Attributes:
        name: empty (null in params.yaml) where a release in `file` is to say name and options.
        file: weights, or the folder of a release.
        sha256: pins the file of weights.
        licence: that of a `file`; releases and other origins state their own.
    """

    name: Annotated[str, BeforeValidator(lambda name: "" if name is None else name)]
    weights: Literal["file", "hub", "embedded"]
    file: InputPath
    sha256: Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")] | None = None
    licence: Annotated[str, Field(min_length=1)] | None = None
    allow_non_commercial: bool = True
    options: dict[str, Any] = Field(default_factory=dict)
    mean: tuple[float, float, float] | None = None
    std: tuple[float, float, float] | None = None


class Candidate(Backbone):
    """Another backbone that `features` compares with the chosen one; of its weights DVC knows only what stands here."""

    file: InputPath = Path("models/weights")

    @model_validator(mode="after")
    def _pinned(self) -> Candidate:
        if self.weights != "embedded" and self.sha256 is None:
            raise ValueError(
                f"{self.name!r} with weights: {self.weights} needs the file's sha256, by which DVC sees a change"
            )
        return self


class Features(Strict):
    """Frozen features by layer, the logistic probe on them, and other backbones to compare."""

    batch_slices: Positive
    probe_c: Annotated[list[Annotated[float, Field(gt=0)]], Field(min_length=1)]
    pooling: Annotated[list[Literal["mean", "max"]], Field(min_length=1)]
    layers: Annotated[list[str], Field(min_length=1)] | None = None
    candidates: list[Candidate] = Field(default_factory=list)
    cache_gigabytes: Annotated[float, Field(gt=0)] = 20.0

    @field_validator("pooling")
    @classmethod
    def _once_each(cls, pooling: list[str]) -> list[str]:
        if len(set(pooling)) < len(pooling):
            raise ValueError(f"{', '.join(pooling)}: each stands there once, or not")
        return pooling


class Phase(Strict):
    """One phase of fine-tuning.

    Attributes:
        trunk: what learns beside the head: the top share of the trunk's blocks, or the block from which on all learn.
    """

    name: str
    trunk: Fraction | str
    epochs: Positive
    learning_rate: Annotated[float, Field(gt=0)]


Share = Annotated[float, Field(ge=0, lt=1)]


class BiasField(Strict):
    """The shading of a receive coil; `log_gain` is its largest deviation up or down, as a logarithm."""

    chance: Fraction
    log_gain: Annotated[float, Field(gt=0, le=1)]


class Gibbs(Strict):
    """Ringing; `resolution` is the least share of the k-space radius that is kept."""

    chance: Fraction
    resolution: Annotated[float, Field(ge=0.2, lt=1)]


class Rician(Strict):
    """Noise of a magnitude image; `sigma` is its largest standard deviation, as a share of the window."""

    chance: Fraction
    sigma: Annotated[float, Field(gt=0, le=0.5)]


class Motion(Strict):
    """A head that moves while a slice is acquired, by at most `shift`, a share of the picture's width."""

    chance: Fraction
    shift: Annotated[float, Field(gt=0, le=0.2)]


class Augment(Strict):
    """Random changes of training slices; what is left out does not happen.

    Attributes:
        flip_chance: of a unit, to be mirrored left to right.
        rotation_deg: largest, either way.
        zoom: largest, as a logarithm.
        shift: largest, as a share of the picture's width.
        contrast: largest change of the range, as a share of it.
        gamma: largest exponent, as a logarithm.
        brightness: largest step, as a share of the window.
        bias_field, gibbs, rician: of a unit.
        motion: of a slice.
    """

    flip_chance: Fraction = 0
    rotation_deg: Annotated[float, Field(ge=0, le=180)] = 0
    zoom: Share = 0
    shift: Annotated[float, Field(ge=0, le=0.5)] = 0
    contrast: Share = 0
    gamma: Annotated[float, Field(ge=0, le=2)] = 0
    brightness: Share = 0
    bias_field: BiasField | None = None
    gibbs: Gibbs | None = None
    rician: Rician | None = None
    motion: Motion | None = None


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
    """Phases from the head up, and how each step is made.

    Attributes:
        least_steps: that an epoch has, about; where the units are too few for them, it goes over them several times.
    """

    pooling: Pooling
    phases: Annotated[list[Phase], Field(min_length=1)]
    layer_decay: Annotated[float, Field(gt=0, le=1)]
    warmup: Fraction
    patience: Positive
    batch_slices: Positive
    slices_per_unit: Positive
    least_steps: Positive
    accumulate: Positive
    weight_decay: Annotated[float, Field(ge=0)]
    dropout: Fraction
    label_smoothing: Annotated[float, Field(ge=0, lt=1)]
    class_weights: bool
    mixup: Mixup
    average: Annotated[float, Field(gt=0, lt=1)] | None
    augment: Augment | None
    recordings: Recordings
    precision: Literal["bf16", "fp16", "fp32"]
    compile: bool
    processes: Positive

    @model_validator(mode="after")
    def _in_order(self) -> Finetune:
        names = [START, *(phase.name for phase in self.phases)]
        if len(set(names)) < len(names):
            raise ValueError(
                f"finetune.phases: {', '.join(names[1:])}: each needs a name of its own, other than `{START}`"
            )
        for before, after in pairwise(self.phases):
            if after.learning_rate >= before.learning_rate:
                raise ValueError(
                    f"finetune.phases: {after.name!r} has learning_rate {after.learning_rate:g}, which is not below "
                    f"{before.learning_rate:g} of {before.name!r}; rates must fall from the head up"
                )
            # Of names only the trunk tells: `transfer.train.Training`.
            shares = (before.trunk, after.trunk)
            if all(isinstance(share, float) for share in shares) and shares[1] < shares[0]:  # type: ignore[operator]
                raise ValueError(f"finetune.phases: {after.name!r} unfreezes less of the trunk than {before.name!r}")
        return self

    @property
    def control_epochs(self) -> int:
        """Epochs of the phases that train the trunk, or of all where none does: what the control may have."""
        return sum(phase.epochs for phase in self.phases if phase.trunk != 0) or sum(
            phase.epochs for phase in self.phases
        )


class Scratch(Strict):
    """The control without transfer; `epochs` null: as many as `Finetune.control_epochs`, and never fewer."""

    epochs: Positive | None
    learning_rate: Annotated[float, Field(gt=0)]
