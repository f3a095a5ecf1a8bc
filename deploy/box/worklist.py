"""The studies of a box, and what is sent of them, for who looks after it: no names, no UIDs."""

from __future__ import annotations

import json
from collections.abc import Sequence

from deploy.box.delivery import Delivery
from deploy.box.journal import Journal, Study
from pipeline.errors import ConfigError


def table(studies: Sequence[Study]) -> str:
    """A line a study: its number and revision, when the last of it came, its state, and what was said."""
    return _aligned([("study", "last received", "state", ""), *(_row(study) for study in studies)])


def deliveries(found: Sequence[Delivery]) -> str:
    """A line a delivery: its number, what goes where, its state, how often it was tried, and why it is not there."""
    rows = [
        (f"{each.delivery}", f"{each.study}", each.kind, each.destination, each.state, f"{each.tries}", each.reason)
        for each in found
    ]
    return _aligned([("delivery", "study", "what", "destination", "state", "tries", ""), *rows])


def again(journal: Journal, number: int) -> None:
    """Have a study answered once more, such as one that failed for want of memory.

    Raises:
        ConfigError: there is none of this number that was answered or failed.
    """
    for study in journal.studies():
        if study.study == number and study.state in ("answered", "failed") and journal.settle(study, "complete"):
            return
    raise ConfigError("the number of a study that was answered or failed", str(number), "`studies` lists them.")


def _aligned(rows: Sequence[Sequence[str]]) -> str:
    widths = [max(map(len, cells)) for cells in zip(*rows, strict=True)]
    return "\n".join(
        "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows
    )


def _row(study: Study) -> tuple[str, str, str, str]:
    number = f"{study.study}" if study.revision == 1 else f"{study.study} ({study.revision})"
    return number, study.last_received.replace("T", " "), study.state, study.reason or _said(study)


def _said(study: Study) -> str:
    """How many answers of each kind."""
    if not study.predictions or study.state != "answered":
        return ""
    counts: dict[str, int] = {}
    for each in json.loads(study.predictions):
        said = f"decision {each['decision'] or '-'}" if each["status"] == "ok" else each["status"]
        counts[said] = counts.get(said, 0) + 1
    return ", ".join(f"{count} x {said}" for said, count in counts.items()) or "nothing to answer"
