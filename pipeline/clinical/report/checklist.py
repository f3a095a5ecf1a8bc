"""The checklists of journals, each item answered from the figures and params.yaml, or with the reason why it is not.

Items stand in checklist.csv, paraphrased: CLAIM 2024 (Tejani et al., Radiol Artif Intell 6:e240300), TRIPOD+AI (Collins
et al. 2024, BMJ 385:e078378) and STARD-AI (Sounderajah et al. 2025, Nat Med 31:3283).
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from string import Formatter
from typing import Any

from pipeline.clinical.report import honesty
from pipeline.clinical.report.content import Content
from pipeline.clinical.report.figures import at, number, percent, shown
from pipeline.clinical.report.table_one import UNKNOWN, Group
from pipeline.clinical.split import SIDES
from pipeline.files import read_csv

ITEMS = Path(__file__).parent / "checklist.csv"
#: How an answer that is none begins, and what it is called in the table.
STATES = {"Not applicable": "n/a", "Not reported": "not reported"}


def checklists(content: Content) -> list[dict[str, Any]]:
    """Each checklist with its items: number, topic, what is asked, state, answer, and the section that says more."""
    said = facts(content)
    lists: dict[str, list[dict[str, str]]] = {}
    for row in read_csv(ITEMS):
        lists.setdefault(row["list"], []).append(_item(row, content.figures, said))
    return [
        {"name": name, "items": items, "counts": Counter(item["state"] for item in items)}
        for name, items in lists.items()
    ]


def _item(row: Mapping[str, str], figures: Mapping[str, Any], said: Mapping[str, str]) -> dict[str, str]:
    """The answer of an item; the other one where a figure or fact that it needs is not there, or that it is not."""
    empty = [name for _, name, _, _ in Formatter().parse(row["answer"]) if name and not said[name]]
    there = not empty and all(measured(at(figures, name)) for name in row["needs"].split())
    answer = row["answer"] if row["answer"] and there else row["otherwise"]
    answer = answer or f"Not reported: {', '.join(empty) or row['needs']} is empty or undefined."
    state = next((state for start, state in STATES.items() if answer.startswith(start)), "answered")
    return {
        "item": row["item"],
        "topic": row["topic"],
        "asks": row["asks"],
        "state": state,
        "answer": answer.format_map(said),
        "where": row["where"] if state == "answered" else "",
    }


def measured(value: Any) -> bool:
    """Whether a figure is there: not empty, not undefined, and of a section any figure in it."""
    if isinstance(value, Mapping):
        if "value" in value:
            return measured(value["value"])
        return any(measured(each) for name, each in value.items() if name not in ("reason", "method"))
    if isinstance(value, float):
        return math.isfinite(value)
    return value is not None and value not in ("", [], ())


def facts(content: Content) -> dict[str, str]:
    """What the answers of checklist.csv may name in braces; empty where it is not known."""
    params, figures, everyone = content.params, content.figures, content.groups[0].patients
    settings = params.validate_
    return {
        "source": params.data.source.strip().rstrip("."),
        "licence": params.data.licence.strip().rstrip("."),
        "level": params.data.label_level,
        "contrasts": " or ".join(params.ingest.contrasts or []) or "any contrast",
        **{side: str(count) for side, count in zip(SIDES, everyone, strict=True)},
        "refused": str(sum(count for *_, count in content.rejected)),
        "taken": str(content.series),
        "rule": content.found.fixed.rule,
        "fixed": honesty.fixed(figures),
        "decision": _decision(content),
        "seed": str(params.seed),
        "bootstrap": f"{settings.bootstrap:,}",
        "confidence": f"{settings.confidence:.0%}",
        "network": str(content.backbone["name"]),
        "weights": str(content.backbone["origin"]),
        "size": str(params.prepare.size),
        "opened": str(at(figures, "test_set.opened") or ""),
        "method": str(at(figures, "explanation.method") or "Saliency"),
        "cases": str(len(content.examples) or ""),
        "name": f"{params.release.name} {params.release.version}",
        "machine": content.machine,
        "class_weights": "yes" if params.finetune.class_weights else "none",
        **_figures(figures),
        **_patients(content),
    }


def _decision(content: Content) -> str:
    """When a unit is called, as the end of a sentence."""
    fixed, kind = content.found.fixed.threshold, content.found.targets.kind
    if kind == "multiclass":
        return "for the most probable class"
    if isinstance(fixed, list):
        each = zip(content.found.targets.named, fixed, strict=True)
        return f"at the thresholds {', '.join(f'{number(value)} ({name})' for name, value in each)}"
    return "" if fixed is None else f"at the threshold {number(fixed)}"


def _figures(figures: Mapping[str, Any]) -> dict[str, str]:
    """The headline figures where they are defined, and what was found in subgroups and across sides."""
    auroc, point, rows = figures["finetuned"]["auroc"], figures["operating_point"], figures.get("subgroups") or []
    attributes = list(dict.fromkeys(str(row["attribute"]) for row in rows))
    pairs = sum(int(at(figures, f"leakage.{kind}") or 0) for kind in ("exact", "near"))
    return {
        "auroc": shown(auroc) if measured(auroc) else "",
        **{name: percent(point[name]) if measured(point[name]) else "" for name in ("sensitivity", "specificity")},
        "leaks": f"{pairs} pairs are equal or nearly so" if pairs else "none are equal or nearly so",
        "subgroups": _listed(attributes),
        "clusters": _listed([name for name in attributes if name in ("site", "vendor", "field_strength")]),
        "severity": _listed([name for name in attributes if _of_positives(rows, name)]),
    }


def _of_positives(rows: Sequence[Mapping[str, Any]], attribute: str) -> bool:
    """Whether only positives have a value of an attribute, as of the size of a lesion."""
    own = [row for row in rows if row["attribute"] == attribute]
    return all(row.get("units") and row.get("units") == row.get("positive") for row in own)


def _patients(content: Content) -> dict[str, str]:
    """What is known of the patients, and of the sites of those on the test side if no other patient is from there."""
    names: dict[str, list[Group]] = {}
    for group in content.groups:
        if group.name != UNKNOWN:
            names.setdefault(group.heading, []).append(group)
    test = SIDES.index("test")
    sites = [group for group in names.get("Site", []) if group.patients[test]]
    nowhere_else = sum(group.patients[test] for group in sites) == content.groups[0].patients[test]
    apart = nowhere_else and all(sum(group.patients) == group.patients[test] for group in sites)
    tables = {"binary": "two by two", "multiclass": "class by class"}
    return {
        "characteristics": _listed([name.lower() for name in names if name not in ("All", "Class")]),
        "devices": _listed([name for name in ("Vendor", "Field strength") if name in names]),
        "other_sites": _listed([group.name for group in sites]) if apart else "",
        "cross": tables.get(content.found.targets.kind, ""),
    }


def _listed(names: Sequence[str]) -> str:
    return ", ".join(name.replace("_", " ") for name in names)
