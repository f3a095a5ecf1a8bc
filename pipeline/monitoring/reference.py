"""What studies looked like when a release was made: `reference.npz`, which it carries.

The network was fitted to training patients, so their answers are no measure for new ones. They only shape the scores:
the axes of the embedding, and each scanner's usual brightness. The studies of validation and test patients, one of each
patient, are what new studies are ranked among. Of these the file holds a few scores, and no embedding.
"""

from __future__ import annotations

import io
import zipfile
from collections.abc import Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from pipeline.errors import ContractError, DataError
from pipeline.files import write_atomic
from pipeline.monitoring.schema import Observed

Floats = npt.NDArray[np.float64]

FILE: Literal["reference.npz"] = "reference.npz"
#: Principal axes of the embedding that are kept.
AXES = 8
#: Darker than this, in displayed values, is as dark.
_DARK = 1e-3


@dataclass(frozen=True)
class Shape:
    """What the scores are made with, from training patients.

    Attributes:
        centre: (F,) mean embedding.
        axes: (F, A) orthonormal principal axes of the embedding, the widest first.
        spread: (A,) standard deviations along them.
        manufacturers, fields: (G,) of each kind of scanner.
        shares: (G,) how many of the studies are of it.
        brightness: (G + 1,) mean logarithm of the bright percentile of its studies; the last of all.
        positives: (K,) share of the studies for which each class is said to be there.
    """

    centre: Floats
    axes: Floats
    spread: Floats
    manufacturers: npt.NDArray[np.str_]
    fields: npt.NDArray[np.str_]
    shares: Floats
    brightness: Floats
    positives: Floats

    def usual_brightness(self, manufacturer: str, field: str) -> float:
        """Of a kind of scanner; of one that is not known that of all."""
        (found,) = np.nonzero((self.manufacturers == manufacturer) & (self.fields == field))
        return float(self.brightness[found[0] if len(found) else -1])


@dataclass(frozen=True)
class Studies:
    """Scores of N studies.

    Attributes:
        manufacturers, fields: (N,) words; of field strengths such as `1.5 T`.
        brightness: (N,) logarithm of the head's bright percentile, less that usual for the scanner.
        midtone: (N,) the head's median as a share of its bright percentile.
        seen: (N, 2) mean and standard deviation of the prepared pixels.
        places: (N, A) of the embedding along the axes, in standard deviations of training.
        residual: (N,) distance of the embedding from the space of the axes.
        probabilities: (N, K).
        decisions: bool (N, K).
    """

    manufacturers: npt.NDArray[np.str_]
    fields: npt.NDArray[np.str_]
    brightness: Floats
    midtone: Floats
    seen: Floats
    places: Floats
    residual: Floats
    probabilities: Floats
    decisions: npt.NDArray[np.bool_]

    def __len__(self) -> int:
        return len(self.residual)

    def at(self, rows: Sequence[int]) -> Studies:
        """Those of some rows, in their order."""
        return Studies(*(value[np.asarray(rows, dtype=np.int64)] for value in vars(self).values()))


@dataclass(frozen=True)
class Reference:
    """What new studies are compared with.

    Attributes:
        onnx_sha256: of the release's fp32 graph.
        backend: what answered, in words.
        shape: from training patients.
        studies: of validation and test patients, in an order by their scores, which says nothing.
    """

    onnx_sha256: str
    backend: str
    shape: Shape
    studies: Studies

    def save(self, path: Path) -> None:
        """Write the file; equal references give equal bytes."""
        arrays: dict[str, npt.NDArray[Any]] = {
            "onnx_sha256": np.array(self.onnx_sha256),
            "backend": np.array(self.backend),
            **{f"shape.{name}": value for name, value in vars(self.shape).items()},
            **{f"studies.{name}": value for name, value in vars(self.studies).items()},
        }
        write_atomic(path, lambda handle: np.savez(handle, allow_pickle=False, **arrays))


def read(path: Path) -> Reference:
    """The reference in a file.

    Raises:
        ContractError: it holds none.
    """
    try:
        with np.load(io.BytesIO(path.read_bytes()), allow_pickle=False) as arrays:
            shape = Shape(*(arrays[f"shape.{field.name}"] for field in fields(Shape)))
            studies = Studies(*(arrays[f"studies.{field.name}"] for field in fields(Studies)))
            return Reference(str(arrays["onnx_sha256"]), str(arrays["backend"]), shape, studies)
    except (OSError, EOFError, ValueError, KeyError, zipfile.BadZipFile) as error:
        raise ContractError(
            f"a reference of studies in {path}",
            type(error).__name__,
            "Copy the release again, whole; one made before there were references is made again by `dvc repro`.",
        ) from error


def make(onnx_sha256: str, backend: str, training: Sequence[Observed], others: Sequence[Observed]) -> Reference:
    """The reference of a release.

    Args:
        onnx_sha256: of its fp32 graph.
        backend: what answered.
        training: studies of training patients.
        others: of validation and test patients, one of each patient.

    Raises:
        DataError: too few studies.
    """
    if min(len(training), len(others)) < 2:
        raise DataError(
            "studies of two training patients, and of two others to compare new ones with",
            f"{len(training)} and {len(others)}",
            "Ingest more patients.",
        )
    shape = _shape(training)
    found = scored(others, shape)
    order = np.lexsort((found.brightness, found.residual)).tolist()
    return Reference(onnx_sha256, backend, shape, found.at(order))


def field_of(study: Observed) -> str:
    """The field strength in words."""
    return "unknown" if study.field_strength_t is None else f"{study.field_strength_t:g} T"


def scored(studies: Sequence[Observed], shape: Shape) -> Studies:
    """The scores of studies, one or more.

    Raises:
        DataError: an embedding of another network.
    """
    lengths = {len(study.embedding) for study in studies}
    if lengths - {len(shape.centre)}:
        raise DataError(
            f"embeddings of {len(shape.centre)} values, as the release's network gives them",
            f"some of {max(lengths)}",
            "Name the reports of a box that runs this release.",
        )
    embeddings = np.array([study.embedding for study in studies]) - shape.centre
    places = embeddings @ shape.axes
    expected = np.array([shape.usual_brightness(study.manufacturer, field_of(study)) for study in studies])
    return Studies(
        manufacturers=np.array([study.manufacturer for study in studies], dtype=np.str_),
        fields=np.array([field_of(study) for study in studies], dtype=np.str_),
        brightness=_brightness(studies) - expected,
        midtone=np.array([study.intensity[2] / max(study.intensity[4], _DARK) for study in studies]),
        seen=np.array([study.seen for study in studies]),
        places=places / shape.spread,
        residual=np.linalg.norm(embeddings - places @ shape.axes.T, axis=1),
        probabilities=np.array([study.probabilities for study in studies], dtype=np.float64),
        decisions=np.array([study.decisions for study in studies], dtype=np.bool_),
    )


def _brightness(studies: Sequence[Observed]) -> Floats:
    return np.log(np.maximum([study.intensity[4] for study in studies], _DARK))


def _shape(training: Sequence[Observed]) -> Shape:
    """Axes by a singular value decomposition; shares and brightness by scanner."""
    embeddings = np.array([study.embedding for study in training])
    centre = embeddings.mean(axis=0)
    _, widths, axes = np.linalg.svd(embeddings - centre, full_matrices=False)
    kept = max(1, min(AXES, int((widths > 1e-6 * widths[0]).sum()), len(training) - 1))
    # The sign of an axis is arbitrary: its largest part counts up.
    axes = axes[:kept] * np.sign(axes[np.arange(kept), np.abs(axes[:kept]).argmax(axis=1)])[:, np.newaxis]
    kinds, own = np.unique([(study.manufacturer, field_of(study)) for study in training], axis=0, return_inverse=True)
    bright = _brightness(training)
    means = [float(bright[own == kind].mean()) for kind in range(len(kinds))]
    return Shape(
        centre=centre,
        axes=axes.T,
        spread=np.maximum(widths[:kept] / np.sqrt(len(training) - 1), 1e-9),
        manufacturers=kinds[:, 0],
        fields=kinds[:, 1],
        shares=np.bincount(own, minlength=len(kinds)) / len(training),
        brightness=np.array([*means, float(bright.mean())]),
        positives=np.array([study.decisions for study in training]).mean(axis=0),
    )
