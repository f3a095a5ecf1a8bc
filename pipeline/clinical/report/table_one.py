"""Who the patients are, by side of the split: what radiologists expect as "Table 1"."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from pipeline.clinical.split import SIDES
from pipeline.clinical.subgroups import word
from pipeline.targets import BINARY, Targets

Row = Mapping[str, str]

#: Heading -> column of data/ingested/index.csv; of a patient with several values all are named.
_COLUMNS = {"Sex": "sex", "Field strength": "field_strength_t", "Vendor": "vendor"}
_AGE = "age_years"
#: The group of patients of whom it is not known.
UNKNOWN = "not known"


@dataclass(frozen=True)
class Group:
    """A row of the table of patients: how many of a group stand on each side, and how many of them are positive.

    `positive` is empty where there are several classes, each of which is a group by itself.
    """

    heading: str
    name: str
    patients: tuple[int, ...]
    positive: tuple[int, ...]


def groups(split: Sequence[Row], index: Sequence[Row], targets: Targets = BINARY) -> list[Group]:
    """All patients, then by class where there are several, and by age, sex, field strength, vendor and site, if known.

    Args:
        split: rows of data/split.csv.
        index: rows of data/ingested/index.csv.
        targets: what the labels mean.
    """
    names = {"Age": {patient: word(_AGE, f"{age:g}") for patient, age in _ages(index).items()}}
    for heading, column in _COLUMNS.items():
        found: dict[str, set[str]] = {}
        for row in index:
            found.setdefault(row["patient"], set()).add(word(column, row.get(column, "")))
        names[heading] = {patient: " + ".join(sorted(filter(None, values))) for patient, values in found.items()}
    names["Site"] = {row["patient"]: row["site"] for row in split}
    rows = [_group("All", "patients", split, targets)]
    if targets.kind != "binary":
        of_class = targets.encode([row["label"] for row in split]).astype(bool)
        members = ([row for row, has in zip(split, own, strict=True) if has] for own in of_class.T)
        rows += [_group("Class", name, own, targets) for name, own in zip(targets.named, members, strict=True)]
    for heading, of in names.items():
        there = sorted({of.get(row["patient"], "") for row in split}, key=lambda name: (not name, name))
        if there != [""]:
            parts = [(name, [row for row in split if of.get(row["patient"], "") == name]) for name in there]
            rows += [_group(heading, name or UNKNOWN, members, targets) for name, members in parts]
    return rows


def _group(heading: str, name: str, rows: Sequence[Row], targets: Targets) -> Group:
    sides = [[row["label"] for row in rows if row["split"] == side] for side in SIDES]
    positive = tuple(labels.count("1") for labels in sides) if targets.kind == "binary" else ()
    return Group(heading, name, tuple(map(len, sides)), positive)


def ages(split: Sequence[Row], index: Sequence[Row]) -> list[str]:
    """Of each side the median age in years with the quartiles, `54 (41 to 66)`; empty where no age is known at all."""
    known = _ages(index)
    sides = [
        [known[row["patient"]] for row in split if row["split"] == side and row["patient"] in known] for side in SIDES
    ]
    return [_spread(own) for own in sides] if any(sides) else []


def _ages(index: Sequence[Row]) -> dict[str, float]:
    """The age of each patient at the first scan, as far as it is known."""
    found: dict[str, float] = {}
    for row in index:
        age = row.get(_AGE, "")
        if word(_AGE, age):
            found[row["patient"]] = min(float(age), found.get(row["patient"], float(age)))
    return found


def _spread(years: Sequence[float]) -> str:
    if not years:
        return "not known"
    low, middle, high = np.quantile(years, [0.25, 0.5, 0.75])
    return f"{middle:.0f} ({low:.0f} to {high:.0f})"
