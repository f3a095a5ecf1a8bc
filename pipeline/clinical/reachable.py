"""What a model without an error would show at best on these test units: intervals of few stay wide."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pipeline.clinical import by_class, metrics
from pipeline.clinical.ranking import Labels, ranked
from pipeline.clinical.resampling import draw
from pipeline.targets import Targets


def best(targets: Targets, labels: Labels, confidence: float) -> dict[str, Any]:
    """The lower ends of areas and shares without an error, under the names that they have in reports/metrics.json.

    Each unit counts as a patient of its own: that those of one patient resemble each other would lower the ends, and by
    how much an error alone could tell.

    Args:
        targets: what the labels mean.
        labels: (U, K) of 0 and 1, of the test units.
        confidence: of the intervals.
    """
    resamples = draw([str(place) for place in range(len(labels))], 0, confidence, 0)
    right, ranks = labels == 1, ranked(labels, labels.astype(float), resamples)
    areas = {
        "auroc": metrics.auroc_of(ranks).figures(),
        "average_precision": metrics.average_precision_of(ranks).figures(),
    }
    found = {"finetuned": areas, **by_class.finetuned(areas, targets, labels, ranks.scores, right, resamples)}
    point = {name: measure(labels, right, resamples).figures() for name, measure in by_class.shares(targets).items()}
    return {**_ends(found), "operating_point": _ends(point)}


def _ends(figures: Mapping[str, Any]) -> dict[str, Any]:
    """Of nested figures the lower ends; a class may be called `low`."""
    if isinstance(figures.get("low"), float):
        return {"low": figures["low"]}
    return {name: _ends(value) for name, value in figures.items()}
