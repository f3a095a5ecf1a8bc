"""The checklists of journals, each item answered from the figures and params.yaml, or with the reason why it is not.

Items stand in checklist.csv, paraphrased: CLAIM 2024 (Tejani et al., Radiol Artif Intell 6:e240300), TRIPOD+AI (Collins
et al. 2024, BMJ 385:e078378) and STARD-AI (Sounderajah et al. 2025, Nat Med 31:3283).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pipeline.clinical.report.content import Content
from pipeline.clinical.report.figures import at, number, percent, shown
from pipeline.clinical.split import SIDES
from pipeline.files import read_csv

ITEMS = Path(__file__).parent / "checklist.csv"
#: How an answer that is none begins, and what it is called in the table.
STATES = {"Not applicable": "n/a", "Not reported": "open"}


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
    """The answer of an item; the other one where a figure that it needs was not measured."""
    there = all(at(figures, name) is not None for name in row["needs"].split())
    answer = row["answer"] if row["answer"] and there else row["otherwise"]
    state = next((state for start, state in STATES.items() if answer.startswith(start)), "answered")
    return {
        "item": row["item"],
        "topic": row["topic"],
        "asks": row["asks"],
        "state": state,
        "answer": answer.format_map(said),
        "where": row["where"] if state == "answered" else "",
    }


def facts(content: Content) -> dict[str, str]:
    """What the answers of checklist.csv may name in braces."""
    params, figures, everyone = content.params, content.figures, content.groups[0].patients
    settings, test = params.validate_, figures["test"]
    return {
        "source": params.data.source.rstrip("."),
        "licence": params.data.licence.rstrip("."),
        "level": params.data.label_level,
        "contrasts": " or ".join(params.ingest.contrasts or []) or "any contrast",
        **{side: str(count) for side, count in zip(SIDES, everyone, strict=True)},
        "patients": str(sum(everyone)),
        "units": str(test["units"]),
        "refused": str(sum(count for *_, count in content.rejected)),
        "taken": str(content.series),
        "rule": content.found.fixed.rule,
        "threshold": number(figures["operating_point"].get("threshold")),
        "seed": str(params.seed),
        "bootstrap": f"{settings.bootstrap:,}",
        "confidence": f"{settings.confidence:.0%}",
        "network": params.backbone.name or str(content.backbone["name"]),
        "weights": str(content.backbone["origin"]),
        "size": str(params.prepare.size),
        "auroc": shown(figures["finetuned"]["auroc"]),
        "sensitivity": percent(figures["operating_point"]["sensitivity"]),
        "specificity": percent(figures["operating_point"]["specificity"]),
        "opened": str(at(figures, "test_set.opened")),
        "method": str(at(figures, "explanation.method") or "Grad-CAM"),
        "name": f"{params.release.name} {params.release.version}",
        "machine": content.machine,
        "class_weights": "yes" if params.finetune.class_weights else "none",
        "subgroups": ", ".join(dict.fromkeys(str(row["attribute"]) for row in figures.get("subgroups") or [])),
    }
