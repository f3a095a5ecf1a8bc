"""The recipe of a backbone's pre-training: models/embedded/params.yaml as typed values."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import Field

from pipeline.strict import Strict
from pipeline.training_config import Backbone, Fraction, InputPath, Positive

Rate = Annotated[float, Field(gt=0)]


class Source(Strict):
    """The images, and what they may be called."""

    train: InputPath
    val: InputPath
    description: str
    licence: str
    size: Positive


class Network(Strict):
    """The student: a timm name and the options of its constructor."""

    name: str
    options: dict[str, Any] = Field(default_factory=dict)


class Teacher(Backbone):
    """A network whose features the student learns.

    Attributes:
        size: pixels of a side that it sees the images at.
    """

    size: Positive


class Distil(Strict):
    """Distillation: a linear map of the student's features learns the teachers' features of the same crop.

    Features say more than class scores where the images are too small for the teachers to name them (compare FitNets,
    Romero et al., 2015). A few crops of each image are shown to the teachers once and then taken in turn, epoch by
    epoch, which spares the teachers' passes (Shen & Xing, "A Fast Knowledge Distillation Framework", 2022).

    Attributes:
        views: crops of each image.
        weight: of the mean squared error of standardised features, beside 1 of the cross-entropy with the labels.
    """

    views: Positive
    weight: Annotated[float, Field(ge=0)]


class Train(Strict):
    """The student's training, on AdamW with warm-up and a cosine to zero."""

    size: Positive
    epochs: Positive
    warmup_epochs: Annotated[float, Field(ge=0)]
    batch: Positive
    learning_rate: Rate
    weight_decay: Annotated[float, Field(ge=0)]
    label_smoothing: Fraction
    ema_decay: Fraction
    checkpoint_s: Rate


class Recipe(Strict):
    """The whole recipe; paths are relative to its folder."""

    seed: int
    images: Source
    network: Network
    teachers: Annotated[list[Teacher], Field(min_length=1)]
    distil: Distil
    train: Train
    max_megabytes: Rate
