"""From the volumes of a study to what is reported of it: one code for the reference and for a box."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import cast

import numpy as np

from pipeline.calibrator import Calibration
from pipeline.contract import LabelLevel, Transform
from pipeline.imaging.intensity import head_mask, percentiles
from pipeline.imaging.prepare import prepare
from pipeline.imaging.volume import Volume
from pipeline.inference.answers import Answers, Backend, Floats, Slices
from pipeline.inference.release import Release
from pipeline.inference.slices import of_slices
from pipeline.monitoring.schema import MANUFACTURERS, PERCENTILES, Manufacturer, Observed
from pipeline.targets import decided


@dataclass(frozen=True)
class Model:
    """What it takes to answer for a study.

    Attributes:
        backend: runs the graph.
        transform: of the contract.
        calibration: of the graph; its threshold and neighbours are used.
        level: what a label belongs to.
    """

    backend: Backend
    transform: Transform
    calibration: Calibration
    level: LabelLevel

    @classmethod
    def of(cls, release: Release) -> Model:
        """That of a release."""
        manifest = release.manifest
        return cls(release.backend, manifest.transform, manifest.calibration, manifest.task.label_level)


@dataclass(frozen=True)
class Answer:
    """What the network says of a study: (F,) embedding and (K,) probabilities."""

    embedding: Floats
    probabilities: Floats


def observe(model: Model, manufacturer: str, field_strength_t: float | None, volumes: Sequence[Volume]) -> Observed:
    """What a release sees of a study.

    Args:
        model: answers.
        manufacturer: as `dicom.vendor.vendor` names it.
        field_strength_t: of the scanner; None where unknown.
        volumes: of the study, one or more.

    Raises:
        DataError: a volume cannot be prepared.
        EngineError: the network gave a value that is no number.
    """
    prepared = [prepare(volume, model.transform) for volume in volumes]
    return described(manufacturer, field_strength_t, volumes, prepared, answered(model, prepared), model.calibration)


def answered(model: Model, prepared: Sequence[Slices]) -> Answer:
    """The network's answer for the slices of a study, each array those of a volume."""
    if model.level == "slice":
        said_of = [of_slices(model.backend, slices, model.calibration.neighbours_sd) for slices in prepared]
    else:
        units = prepared if model.level == "series" else [np.concatenate(prepared)]
        said_of = [model.backend.run(slices, np.ones((1, len(slices)), np.float32)) for slices in units]
    return together(said_of)


def together(said_of: Sequence[Answers]) -> Answer:
    """Of all units of a study the mean embedding of their slices, and of each class the highest probability."""
    embeddings = np.concatenate([each.embedding for each in said_of])
    weights = np.concatenate(
        [np.full(len(each.embedding), len(each.slice_scores) / len(each.embedding)) for each in said_of]
    )
    embedding = np.average(embeddings, axis=0, weights=weights).astype(np.float32)
    return Answer(embedding, np.concatenate([each.probabilities for each in said_of]).max(axis=0))


def described(
    manufacturer: str,
    field_strength_t: float | None,
    volumes: Sequence[Volume],
    prepared: Sequence[Slices],
    answer: Answer,
    calibration: Calibration,
) -> Observed:
    """The same where the slices are prepared and answered already."""
    voxels = [percentiles(volume.voxels, head_mask(volume.voxels), PERCENTILES) for volume in volumes]
    pixels = np.concatenate(prepared)
    probabilities = np.clip(answer.probabilities.astype(np.float64), 0, 1)
    p5, p25, p50, p75, p95 = np.median(voxels, axis=0).tolist()
    known = manufacturer if manufacturer in MANUFACTURERS else "other"
    return Observed(
        manufacturer=cast(Manufacturer, known if manufacturer else "unknown"),
        field_strength_t=None if field_strength_t is None else round(2 * field_strength_t) / 2,
        series=len(volumes),
        slices=len(pixels),
        intensity=(p5, p25, p50, p75, p95),
        seen=(float(pixels.mean()) / 255, float(pixels.std()) / 255),
        embedding=tuple(answer.embedding.astype(np.float64).round(6).tolist()),
        probabilities=tuple(probabilities.tolist()),
        decisions=tuple(decided(answer.probabilities[np.newaxis], calibration.threshold)[0].tolist()),
    )
