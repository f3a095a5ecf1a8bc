"""Subgroups, comparisons and levels: the tables of intervals, each on one scale."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

from pipeline.clinical.report.charts import MODELS
from pipeline.clinical.report.figures import at, estimate, known, number, probability, shown
from pipeline.clinical.report.figures import interval as span
from pipeline.clinical.report.forest import Forest, Interval, forest

#: What a subgroup is measured by.
MEASURES = {"auroc": "AUROC", "sensitivity": "Sensitivity", "specificity": "Specificity"}
_HEADINGS = {
    "age": "Age", "age_band": "Age", "field_strength": "Field strength", "field_strength_t": "Field strength (T)",
    "lesion_size": "Lesion size", "sex": "Sex", "site": "Site", "vendor": "Vendor",
}  # fmt: skip


def interval(name: str, cls: str, figure: Any) -> Interval:
    """A figure of the metrics as a row of a forest plot."""
    found = estimate(figure)
    return Interval(name, cls, *(known(found[key]) for key in ("value", "low", "high")))


def subgroups(figures: Mapping[str, Any], confidence: float = 0.95) -> dict[str, Any]:
    """Rows by attribute, a forest for each measure with all patients' figure as its reference, warnings, how many."""
    rows = figures.get("subgroups") or []
    overall = {
        "auroc": at(figures, "finetuned.auroc"),
        **{key: at(figures, f"operating_point.{key}") for key in ("sensitivity", "specificity")},
    }
    forests = {
        key: forest(
            [interval("All", "finetuned", overall[key]), *(interval(r["group"], "plain", r.get(key)) for r in rows)],
            known(estimate(overall[key])["value"]),
            (_lowest(rows, key), 1.0),
        )
        for key in MEASURES
    }
    headings: dict[str, list[dict[str, Any]]] = {}
    for row in rows:
        headings.setdefault(_HEADINGS.get(row["attribute"], str(row["attribute"])), []).append(_group(row, forests))
    everyone = {
        key: {"drawing": forests[key].bar(forests[key].rows[0]), "figure": shown(overall[key])} for key in MEASURES
    }
    warnings = [f"{row['attribute']} {row['group']}: {row['warning']}" for row in rows if row.get("warning")]
    return {
        "headings": headings,
        "all": everyone,
        "forests": forests,
        "warnings": warnings,
        "many": _many(rows, confidence),
    }


def _many(rows: Sequence[Mapping[str, Any]], confidence: float) -> str:
    """How many groups were looked at, how many gaps stand out, and how many would by chance; empty without a gap."""
    gaps = [estimate(row.get("gap")) for row in rows]
    whole = [(known(gap["low"]), known(gap["high"])) for gap in gaps if math.isfinite(known(gap["low"]))]
    if not whole:
        return ""
    apart = sum(low > 0 or high < 0 for low, high in whole)
    attributes, by_chance = len({row["attribute"] for row in rows}), (1 - confidence) * len(whole)
    return (
        f"{len(rows)} groups of {attributes} {'kinds' if attributes > 1 else 'kind'} were looked at, and {len(whole)} "
        f"have a gap with an interval. Of so many about {by_chance:.1f} would lie wholly on one side of 0 by chance, "
        f"if the model did equally well for all; here {apart} {'does' if apart == 1 else 'do'}. No interval is "
        "corrected for their number."
    )


def _lowest(rows: Sequence[Mapping[str, Any]], key: str) -> float:
    """Where the scale of a measure begins: at 0 where an interval reaches below a half, else at 0.4."""
    lows = [known(estimate(row.get(key))["low"]) for row in rows]
    return 0.0 if any(low < 0.5 for low in lows if math.isfinite(low)) else 0.4


def _group(row: Mapping[str, Any], forests: Mapping[str, Forest]) -> dict[str, Any]:
    cells = {}
    for key in MEASURES:
        of = interval(str(row["group"]), "small-n" if row.get("small") else "finetuned", row.get(key))
        cells[key] = {"drawing": forests[key].bar(of), "figure": shown(row.get(key))}
    gap = row.get("gap")
    return {
        "name": str(row["group"]) or "not known",
        "patients": row.get("patients"),
        "units": row.get("units"),
        "positive": row.get("positive"),
        "small": bool(row.get("small")),
        "warning": row.get("warning"),
        "gap": _lines(gap),
        "cells": cells,
    }


def _lines(gap: Any) -> list[str]:
    """A gap, and its interval for a line of its own; or why there is none."""
    if gap is None or math.isnan(known(gap["value"])):
        return [] if gap is None else [shown(gap)]
    bounds = estimate(gap)["low"]
    return [number(gap["value"]), *([] if math.isnan(known(bounds)) else [f"({span(gap)})"])]


def comparisons(figures: Mapping[str, Any]) -> list[dict[str, Any]]:
    """A row for each model that the fine-tuned one is compared with on the same test units."""
    rows = figures.get("comparison") or {}
    drawn = forest(
        [
            interval(name, name if name in MODELS else "plain", row.get("auroc_difference"))
            for name, row in rows.items()
        ],
        0.0,
    )
    found = []
    for (name, row), bar in zip(rows.items(), drawn.rows, strict=True):
        discordant = row.get("mcnemar") or {}
        found.append(
            {
                "name": MODELS.get(name, name),
                "auroc": shown(row.get("auroc")),
                "difference": bar.figure,
                "drawing": drawn.bar(bar),
                "axis": drawn.axis(),
                "p": probability(row.get("p_value")),
                "method": row.get("method", ""),
                "only_this": discordant.get("only_this", "n/a"),
                "only_other": discordant.get("only_other", "n/a"),
                "mcnemar_p": probability(discordant.get("p_value")),
                "mcnemar_method": discordant.get("method", ""),
            }
        )
    return found


def levels(figures: Mapping[str, Any]) -> list[tuple[str, str, list[str]]]:
    """Figures by level coarser than the labels' own: its name, how it was made or why not, and the figures."""
    return [
        (
            name,
            str(row.get("aggregation") or row.get("reason") or ""),
            [shown(row.get(key)) if row.get(key) else "n/a" for key in MEASURES],
        )
        for name, row in (figures.get("levels") or {}).items()
        if isinstance(row, Mapping)
    ]


def sample_size(figures: Mapping[str, Any]) -> list[dict[str, str]]:
    """How wide each interval is, how wide it was to be, and how many patients that takes."""
    return [
        {
            "name": MEASURES.get(name, name),
            "width": number(row.get("width"), 3),
            "wanted": number(row.get("wanted"), 3),
            "patients": _count(row.get("patients")),
            "needed": _count(row.get("patients_needed")),
            "more": _count(row.get("more")),
        }
        for name, row in (figures.get("sample_size") or {}).items()
        if isinstance(row, Mapping)
    ]


def _count(value: Any) -> str:
    value = known(value)
    return f"{value:,.0f}" if math.isfinite(value) else "n/a"
