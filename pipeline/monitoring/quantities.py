"""What is watched: numbers and categories of studies, each under a monitor that says where a shift would be."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import numpy.typing as npt

from pipeline.monitoring.reference import Floats, Reference, Studies

Monitor = Literal["vendor", "field strength", "intensity", "embedding", "output"]
MONITORS: tuple[Monitor, ...] = ("vendor", "field strength", "intensity", "embedding", "output")

#: Axes of the embedding that are watched one by one; of all of them together the distance is.
_AXES = 2
#: Probabilities nearer to 0 and 1 than this are as near.
_EDGE = 1e-4


@dataclass(frozen=True)
class Quantity:
    """One thing that is watched.

    Attributes:
        monitor: to which it belongs.
        name: in words.
        usual: of a category, whose values are 1 and 0, its share among training patients; None of a number.
        reference, stream: values of the reference's studies and of those reported.
    """

    monitor: Monitor
    name: str
    usual: float | None
    reference: Floats
    stream: Floats


def quantities(reference: Reference, stream: Studies, classes: Sequence[str]) -> list[Quantity]:
    """All that is watched, in the order of `MONITORS`.

    Args:
        reference: of the release.
        stream: scores of the studies that were reported.
        classes: what each of the K probabilities speaks of; one of a binary task.
    """
    own, shape = reference.studies, reference.shape
    return [
        *_categories(
            "vendor", "manufacturer", (shape.manufacturers, shape.shares), own.manufacturers, stream.manufacturers
        ),
        *_categories("field strength", "field strength", (shape.fields, shape.shares), own.fields, stream.fields),
        *(
            Quantity(monitor, name, None, values, new)
            for (monitor, name, values), (*_, new) in zip(numbers(own), numbers(stream), strict=True)
        ),
        *_outputs(reference, stream, classes),
    ]


def _categories(
    monitor: Monitor,
    noun: str,
    usual: tuple[npt.NDArray[np.str_], Floats],
    reference: npt.NDArray[np.str_],
    stream: npt.NDArray[np.str_],
) -> Iterator[Quantity]:
    """The share of each category of the reference, and of all others together; of two or one the last says no more."""
    known = np.unique(reference)
    for name in known[: len(known) if len(known) > 2 else -1].tolist():
        share = float(usual[1][usual[0] == name].sum())
        yield Quantity(monitor, name, share, (reference == name).astype(float), (stream == name).astype(float))
    new = ~np.isin(stream, known)
    yield Quantity(monitor, f"another {noun}", 0.0, np.zeros(len(reference)), new.astype(float))


def numbers(studies: Studies) -> Iterator[tuple[Monitor, str, Floats]]:
    """Monitor, name and values (N,) of all that is a number and no output."""
    yield "intensity", "brightness for the scanner", studies.brightness
    yield "intensity", "midtone", studies.midtone
    yield "intensity", "mean of the prepared slices", studies.seen[:, 0]
    yield "intensity", "contrast of the prepared slices", studies.seen[:, 1]
    yield "embedding", "distance along the axes", np.linalg.norm(studies.places, axis=1)
    yield "embedding", "distance from the axes", studies.residual
    for axis in range(min(_AXES, studies.places.shape[1])):
        yield "embedding", f"place on axis {axis + 1}", studies.places[:, axis]


def _outputs(reference: Reference, stream: Studies, classes: Sequence[str]) -> Iterator[Quantity]:
    """Of each class its logit, and how often it is said to be there."""
    own = reference.studies
    for place, name in enumerate(classes):
        of = "" if len(classes) == 1 else f" of {name}"
        logits = (_logit(studies.probabilities[:, place]) for studies in (own, stream))
        yield Quantity("output", f"logit{of}", None, *logits)
        decisions = (studies.decisions[:, place].astype(float) for studies in (own, stream))
        yield Quantity("output", f"positive decisions{of}", float(reference.shape.positives[place]), *decisions)


def _logit(probabilities: Floats) -> Floats:
    clipped = np.clip(probabilities, _EDGE, 1 - _EDGE)
    return np.asarray(np.log(clipped / (1 - clipped)))
