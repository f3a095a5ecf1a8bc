"""Where every scan went, from the folder to the figures, as STARD asks for it (Bossuyt et al. 2015, BMJ 351:h5527)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from pipeline.clinical.report.content import Content
from pipeline.clinical.report.table_one import Group
from pipeline.clinical.split import SIDES
from pipeline.dicom.reasons import OF_FILES

_SIDES = {"train": "to learn from", "val": "to choose by", "test": "to test on"}


def flow(content: Content, units: str) -> dict[str, Any]:
    """The boxes of the diagram, each the sum of those that it is divided into.

    Found series are refused or taken, taken ones without a label or used, used ones on the sides, and test units called
    one or the other. Without `flow` in the metrics only the rows of the tables are counted, and `found` is None.
    """
    stated: Mapping[str, Any] = content.figures.get("flow") or {}
    of_files = [row for row in content.rejected if row[0] in OF_FILES]
    of_series = [row for row in content.rejected if row[0] not in OF_FILES]
    files, series = (sum(count for *_, count in rows) for rows in (of_files, of_series))
    return {
        "found": stated.get("series_found"),
        "refused": stated.get("series_refused", series),
        "files": stated.get("files_refused", files),
        "reasons": [*of_series, *of_files],
        "taken": stated.get("series_ingested", content.series),
        "volumes": stated.get("volumes_ingested"),
        "unlabelled": stated.get("series_without_label", 0),
        "used": stated.get("series_labelled"),
        "patients": sum(content.groups[0].patients),
        "sides": _sides(content.groups[0], stated.get("sides") or {}),
        "ends": _ends(content, units),
        "lines": _lines(stated),
    }


def _sides(everyone: Group, stated: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Of each side its patients, how many of them are positive, and its series."""
    return [
        {
            "name": side,
            "what": _SIDES[side],
            "patients": everyone.patients[place],
            "positive": everyone.positive[place] if everyone.positive else None,
            "series": (stated.get(side) or {}).get("series"),
        }
        for place, side in enumerate(SIDES)
    ]


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
