"""The rules of `contract.Selection`: which volumes are wanted, and of several the best. By headers alone."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from pipeline.contract import Merit, Selection
from pipeline.dicom.traits import Traits

#: What makes a volume better: the greater value wins.
MERITS: Mapping[Merit, Callable[[Traits], Any]] = {
    "most_slices": lambda traits: traits.n_slices,
    "thinnest": lambda traits: -float("inf") if traits.step_mm is None else -traits.step_mm,
    "latest": lambda traits: traits.start,
}


def refusal(traits: Traits, selection: Selection) -> str | None:
    """Why a volume is not wanted, a key of `reasons.REASONS`, or None."""
    if selection.contrasts is not None and traits.inference.contrast not in selection.contrasts:
        return "contrast_not_selected"
    if selection.planes is not None and traits.plane not in selection.planes:
        return "plane_not_selected"
    if selection.acquisition_types is not None and traits.acquisition_type not in selection.acquisition_types:
        return "acquisition_type_not_selected"
    return None


def worth(traits: Traits, merits: Sequence[Merit]) -> tuple[Any, ...]:
    """A key by which the best volume is the greatest; whatever is asked for, the later one wins a tie."""
    return tuple(MERITS[merit](traits) for merit in (*merits, "latest"))


def decisive(better: Traits, worse: Traits, merits: Sequence[Merit]) -> Merit | None:
    """The first merit in which two volumes differ; None where they differ in none."""
    asked: tuple[Merit, ...] = (*merits, "latest")
    return next((merit for merit in asked if MERITS[merit](better) != MERITS[merit](worse)), None)
