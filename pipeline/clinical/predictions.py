"""Predictions of another model on the same test units, from a file: another release, or the one in production."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from pipeline.clinical.proportions import Calls
from pipeline.clinical.resampling import Floats
from pipeline.errors import ContractError
from pipeline.files import read_csv, sha256_file
from pipeline.targets import Targets, calls
from pipeline.validation_config import Compared


@dataclass(frozen=True)
class Other:
    """Another model on the same units.

    Attributes:
        scores: float64 (U, K), by which it ranks them.
        called: (U, K), what it calls positive; None where no threshold of its own is known.
    """

    scores: Floats
    called: Calls | None


def read(given: Compared, ids: Sequence[str], targets: Targets) -> Other:
    """What a file says of the units `ids`: columns `unit` and `probability` or `logit`, and `threshold` for calls.

    With several classes `probability_<class>`, `logit_<class>`, `threshold_<class>`; a multiclass model calls the class
    of the highest score. The `predictions.csv` of another project is such a file. Order and further columns are free;
    an empty cell is NaN, and the figures say so.

    Raises:
        ContractError: no such file, another SHA-256 than pinned, a column or unit missing, a unit too many or twice, no
            number, or a threshold beside logits alone.
    """
    path = given.predictions
    _pinned(given)
    rows = read_csv(path)
    names = list(rows[0]) if rows else []
    ends = [""] if targets.kind == "binary" else [f"_{name}" for name in targets.named]
    kind = next((kind for kind in ("probability", "logit") if all(f"{kind}{end}" in names for end in ends)), None)
    if kind is None or "unit" not in names:
        wanted = ", ".join(f"probability{end} (or logit{end})" for end in ends)
        raise ContractError(
            f"columns unit, {wanted} in {path}", ", ".join(names) or "no row", "Write them, one row a test unit."
        )
    by_unit = _matched(rows, ids, path)
    scores = np.array([[_number(by_unit[unit][f"{kind}{end}"], path) for end in ends] for unit in ids])
    if kind == "logit":
        scores = targets.scores(scores)
    if targets.kind == "multiclass":
        return Other(scores, calls(scores, None))
    if not all(f"threshold{end}" in names for end in ends):
        return Other(scores, None)
    if kind == "logit":
        raise ContractError(
            f"a column probability in {path}, to which its threshold applies",
            "logit alone",
            "Add it.",
        )
    thresholds = np.array([[_number(by_unit[unit][f"threshold{end}"], path) for end in ends] for unit in ids])
    return Other(scores, scores >= thresholds)


def _pinned(given: Compared) -> None:
    path = given.predictions
    if not path.is_file():
        raise ContractError(f"{path} (validate.compare, {given.name})", "no such file", "Correct the path.")
    found = sha256_file(path)
    if given.sha256 not in (None, found):
        raise ContractError(
            f"{path} with SHA-256 {given.sha256}",
            found,
            "Correct the SHA-256 in validate.compare, or the file.",
        )


def _matched(rows: Sequence[Mapping[str, str]], ids: Sequence[str], path: Path) -> dict[str, Mapping[str, str]]:
    """Rows by unit, if they are those of the test side and no others; units are pseudonyms, and none is named."""
    by_unit = {row["unit"]: row for row in rows}
    missing, more = len(set(ids) - by_unit.keys()), len(by_unit.keys() - set(ids))
    if missing or more or len(by_unit) < len(rows):
        twice = len(rows) - len(by_unit)
        raise ContractError(
            f"one row for each of the {len(ids)} test units in {path}",
            f"{missing} of them missing, {more} others, {twice} rows of a unit that has one already",
            "Compare on the test units of this split; predict them with the other model.",
        )
    return by_unit


def _number(cell: str, path: Path) -> float:
    try:
        return float(cell) if cell.strip() else math.nan
    except ValueError as error:
        raise ContractError(f"numbers in {path}", "a cell that is none", "Correct it; empty means unknown.") from error
