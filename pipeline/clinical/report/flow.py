"""Where every scan went, from the folder to the figures, as STARD asks for it (Bossuyt et al. 2015, BMJ 351:h5527)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from pipeline.clinical.report.content import Content
from pipeline.clinical.split import SIDES

_SIDES = {"train": "to learn from", "val": "to choose by", "test": "to test on"}


def flow(content: Content, units: str) -> dict[str, Any]:
    """The boxes of the diagram: series taken, refused with reasons, patients by side, and how the test ended."""
    refused = sum(count for *_, count in content.rejected)
    everyone = content.groups[0]
    sides = [
        {
            "name": side,
            "what": _SIDES[side],
            "patients": everyone.patients[place],
            "positive": everyone.positive[place] if everyone.positive else None,
        }
        for place, side in enumerate(SIDES)
    ]
    stated: Mapping[str, Any] = content.figures.get("flow") or {}
    return {
        "found": stated.get("series_found"),
        "unlabelled": stated.get("volumes_without_label") or 0,
        "lines": _lines(stated),
        "refused": refused,
        "reasons": content.rejected,
        "taken": content.series,
        "patients": sum(everyone.patients),
        "sides": sides,
        "ends": _ends(content, units),
    }


def _lines(stated: Mapping[str, Any]) -> list[tuple[str, str]]:
    """Counts that ingest and split accounted for, as far as the metrics hold them."""
    found = []
    for name, value in stated.items():
        if isinstance(value, (int, float)) and not isinstance(value, bool):
            found.append((name.replace("_", " "), f"{value:,}"))
    return found


def _ends(content: Content, units: str) -> Sequence[tuple[str, int, int]]:
    """Of a binary task: the test units by the answer they got, and of these how many are positive or negative."""
    if content.found.targets.kind != "binary":
        return []
    counts = content.found.confusions[0]
    return [
        (f"{units} called positive", counts.true_positive, counts.false_positive),
        (f"{units} called negative", counts.false_negative, counts.true_negative),
    ]
