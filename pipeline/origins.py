"""The weights that a training begins with, and the trainings behind them: a part of the contract."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import Field

from pipeline.strict import Strict


class Origin(Strict):
    """One training in the past of weights.

    Attributes:
        name: of the release that came of it; of the network where it was published by others.
        version: of the release; None where others published it.
        task: what was learnt.
        data: from what, as it was stated.
        licence: of that data, or of the weights that others published.
        sha256: of the weights' file.
    """

    name: str
    version: str | None
    task: str
    data: str
    licence: str
    sha256: str


class Pretrained(Strict):
    """The weights that the training began with.

    Attributes:
        name: of the network, in its library.
        options: of its constructor.
        weights: which kind of origin was asked for; `release` where the file was that of an earlier run.
        origin: what its readers call the source.
        sha256: of the file.
        verified: whose checksum the file has, in words, or "not verified".
        resampled: its tensors that were resampled for another side of pictures.
        licence: of the weights.
        restriction: a sentence where the licence forbids commercial use.
        trained: of an embedded backbone, its card's account: data, classes, resolution, epochs, top1, ...
        mean: per RGB channel, of the pictures it was trained on; it is part of the graph.
        std: likewise.
        parity: largest difference of a logit between the RGB network and its one-channel form; of a feature between
            the trunk and the graph of a release.
        origins: of a release's weights, every training behind them, the last first.
    """

    name: str
    options: dict[str, Any]
    weights: Literal["file", "hub", "embedded", "release"]
    origin: str
    sha256: str
    verified: str
    resampled: list[str] = Field(default_factory=list)
    licence: str
    restriction: str | None
    trained: dict[str, Any] | None
    mean: tuple[float, float, float]
    std: tuple[float, float, float]
    parity: dict[str, float]
    origins: list[Origin] = Field(default_factory=list)

    @property
    def task(self) -> str:
        """What the weights learnt last, in words; of a file that is no release nobody says it."""
        if self.origins:
            return self.origins[0].task
        return "image classification" if self.weights in ("embedded", "hub") else "not stated"
