"""The column `label` of a labels file: cells as written to labels as every table after it has them."""

from __future__ import annotations

import difflib
from collections.abc import Mapping, Sequence
from pathlib import Path

from pipeline.errors import LabelError
from pipeline.targets import SEPARATOR, Targets

#: So many class names are quoted in a message; a column with more is perhaps no column of classes, but of names.
QUOTED_CLASSES = 6

#: 0 and 1, in any of the ways that spreadsheets write them.
_NUMERIC = {"0": "0", "1": "1", "0.0": "0", "1.0": "1"}


def encoded(path: Path, cells: Sequence[tuple[int, str]], targets: Targets, positive: str | None) -> dict[str, str]:
    """Each cell as written -> `0` or `1`; the place of its class; or places, rising, joined by `;`.

    Args:
        path: of the file, for messages.
        cells: line of the file and its cell.
        targets: what the labels mean.
        positive: of a binary task, the class that counts as 1 when labels are two names; None: they are 0 and 1.

    Raises:
        LabelError: a cell that names no class (messages say where it stands, and never quote it: it may be a patient's
            name), or a class that no row has; binary: other than two classes.
    """
    if targets.kind == "binary":
        return _binary(path, {cell for _, cell in cells}, positive)
    found = {}
    for line, cell in cells:
        names = _names(cell, targets)
        for name in names:
            if name not in targets.classes:
                raise _unknown(path, line, name, targets)
        if targets.kind == "multiclass" and not cell:
            expected = f"the name of a class in every row of {path}"
            raise LabelError(expected, f"none in line {line}", "Fill it in, or drop the row.")
        found[cell] = SEPARATOR.join(str(place) for place in sorted({targets.classes.index(name) for name in names}))
    _require_every_class(path, found, targets)
    return found


def _names(cell: str, targets: Targets) -> list[str]:
    """The class names of a cell."""
    if targets.kind == "multiclass":
        return [cell] if cell else []
    return [name.strip() for name in cell.split(SEPARATOR) if name.strip()]


def _unknown(path: Path, line: int, name: str, targets: Targets) -> LabelError:
    (near,) = difflib.get_close_matches(name, targets.classes, n=1, cutoff=0.0)
    several = SEPARATOR in name or "," in name
    hint = " (several names are a multilabel task, and joined by `;`)" if several else ""
    return LabelError(
        f"a name of data.classes, {', '.join(targets.classes)}, in the column `label` of {path}",
        f"another one in line {line}; the nearest of them is {near!r}{hint}",
        "Mend that line, or add its class to data.classes.",
    )


def _require_every_class(path: Path, found: Mapping[str, str], targets: Targets) -> None:
    """Each class on some row, and, where rows have any number of classes, not on each."""
    place_sets = [set(label.split(SEPARATOR)) for label in found.values()]
    for place, name in enumerate(targets.classes):
        rows = sum(str(place) in places for places in place_sets)
        if rows in (0, len(place_sets)):
            raise LabelError(
                f"rows with the class {name!r}, and rows without it, in the column `label` of {path}",
                "no row with it" if rows == 0 else "no row without it",
                "Take the class out of data.classes, or label more.",
            )


def _binary(path: Path, names: set[str], positive: str | None) -> dict[str, str]:
    where = f"in the column `label` of {path}"
    quoted = ", ".join(map(repr, sorted(names))) if len(names) <= QUOTED_CLASSES else "too many to name"
    classes = {name: _NUMERIC[name] for name in names} if names <= _NUMERIC.keys() else None
    if positive is not None and len(names) <= 2:
        if positive not in names:
            raise LabelError(f"the class data.positive: {positive} {where}", quoted, "Set it to one of these.")
        classes = {name: str(int(name == positive)) for name in names}
    if classes is None and len(names) > 2:
        remedy = "Merge or drop classes, or set data.task: multiclass and name them in data.classes."
        raise LabelError(f"two classes {where}", f"{len(names)}: {quoted}", remedy)
    if classes is None:
        raise LabelError(f"0 and 1 {where}", quoted, "Set data.positive to the class that counts as positive.")
    if len(set(classes.values())) < 2:
        raise LabelError(f"two classes {where}", f"only {quoted}", "Add rows of the other class.")
    return classes
