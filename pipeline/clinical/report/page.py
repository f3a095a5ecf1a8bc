"""The report's HTML."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

from pipeline.clinical import verdict
from pipeline.clinical.report import (
    answer,
    charts,
    checklist,
    details,
    flow,
    groups,
    honesty,
    precision,
    transfer,
    usefulness,
    wording,
)
from pipeline.clinical.report import figures as words
from pipeline.clinical.report.charts import MODELS, SHORT
from pipeline.clinical.report.content import Content, limits, weights
from pipeline.clinical.report.examples import outcomes
from pipeline.clinical.report.forest import Interval, forest
from pipeline.clinical.report.images import grey_png, overlay_png
from pipeline.clinical.report.table_one import Group
from pipeline.clinical.split import SIDES
from pipeline.clinical.units import PLURAL

_HERE = Path(__file__).parent
#: Steps of the predicted probability below the reliability diagram.
_STEPS = 40


def render(content: Content) -> str:
    """One self-contained HTML file: inline style, drawings and images, no script, no address of anything outside.

    Equal contents give equal bytes: there is no date in it.
    """
    environment = Environment(
        loader=FileSystemLoader(_HERE), autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    environment.filters.update(
        two=words.number, interval=words.interval, shown=words.shown, percent=words.percent, p=words.probability
    )
    confidence = content.params.validate_.confidence
    units = PLURAL[content.params.data.label_level]
    return environment.get_template("page.html.j2").render(
        content=content,
        params=content.params,
        found=content.found,
        metrics=content.figures,
        models=MODELS,
        short=SHORT,
        sides=SIDES,
        headings=_headings(content.groups),
        units=units,
        binary=content.found.targets.kind == "binary",
        confidence=f"{confidence:.0%}",
        style=Markup((_HERE / "style.css").read_text(encoding="utf-8")),  # noqa: S704  the file beside this one
        sentence=verdict.sentence(content.found.difference, confidence),
        verdict=verdict.transfer_verdict(content.found.difference) or "undefined",
        wording=wording,
        transfer=transfer.section(content.found, content.learned),
        drawings=_drawings(content),
        gallery=_gallery(content),
        limits=limits(content),
        weights=weights(content.backbone),
        **_answer(content, units),
        **_sections(content, units),
    )


def _headings(found: Sequence[Group]) -> dict[str, list[tuple[Group, list[str]]]]:
    """Rows of the table of patients by heading, in their order, with the share of each side's patients."""
    rows: dict[str, list[tuple[Group, list[str]]]] = {}
    for group in found:
        of = zip(group.patients, found[0].patients, strict=True)
        shares = [f"{100 * count / whole:.0f}%" if whole else "" for count, whole in of]
        rows.setdefault(group.heading, []).append((group, shares if group.heading != "All" else [""] * len(shares)))
    return rows


def _answer(content: Content, units: str) -> dict[str, Any]:
    """What stands on the first page."""
    return {
        "purpose": answer.purpose(content),
        "strangers": honesty.strangers(content.figures),
        "accepted": answer.verdict(content.results),
        "criteria": answer.criteria(content.results),
        "findings": answer.findings(content, units),
        "tiles": answer.tiles(content),
        "further": answer.further(content),
    }


def _sections(content: Content, units: str) -> dict[str, Any]:
    """What the later sections say."""
    rows = content.tables.get("decision_curve", [])
    figures = content.figures
    return {
        "decision": {"sentence": usefulness.summary(rows), "numbers": usefulness.numbers(rows)} if rows else None,
        "thousand": usefulness.thousand(figures, units),
        "fates": usefulness.FATES,
        "subgroups": groups.subgroups(figures, content.params.validate_.confidence),
        "comparisons": groups.comparisons(figures),
        "levels": groups.levels(figures),
        "sizes": groups.sample_size(figures),
        "flow": flow.flow(content, units),
        "confirms": honesty.confirms(figures),
        "test_set": honesty.test_set(figures),
        "precision": precision.section(content.ladder, figures, units),
        "leakage": honesty.leakage(figures),
        "explanation": honesty.explanation(figures),
        "checklists": checklist.checklists(content),
        **details.numbers(content),
    }


def _drawings(content: Content) -> dict[str, Any]:
    point, binary = content.figures["operating_point"], content.found.targets.kind == "binary"
    sensitivity, specificity = (words.known(point[key]["value"]) for key in ("sensitivity", "specificity"))
    threshold = point["threshold"] if binary else None
    areas = [groups.interval(name, model, content.figures[model]["auroc"]) for model, name in MODELS.items()]
    pairs = (
        ("Over from scratch", "scratch", content.found.difference),
        ("Over the probe", "probe", content.found.over_probe),
    )
    differences = [Interval(name, cls, each.value, each.low, each.high) for name, cls, each in pairs]
    tables, prevalence = content.tables, words.known(content.figures.get("prevalence")) if binary else math.nan
    at = (sensitivity, words.known(words.estimate(point.get("ppv"))["value"]))
    recall, curve = tables.get("precision_recall"), tables.get("decision_curve")
    return {
        "roc": charts.roc(content.found.curves, (1 - specificity, sensitivity), threshold),
        "precision": charts.precision_recall(recall, prevalence, at) if recall else None,
        "reliability": charts.reliability(
            content.found.bins, wording.observed(content.found.targets), _spread(content)
        ),
        "decision": usefulness.decision_curve(curve, words.known(threshold)) if curve else None,
        "areas": forest(areas, 0.5),
        "differences": forest(differences, 0.0),
        "training": charts.training(content.histories),
    }


def _spread(content: Content) -> list[tuple[int, int]]:
    """How many positives and negatives have a probability in each step of 0..1; of several classes all together."""
    labels, probabilities = content.found.units.labels.ravel(), content.found.probabilities.ravel()
    known = np.isfinite(probabilities)
    counts = [np.histogram(probabilities[known & (labels == label)], bins=_STEPS, range=(0, 1))[0] for label in (1, 0)]
    return [(int(positive), int(negative)) for positive, negative in zip(*counts, strict=True)]


def _gallery(content: Content) -> list[dict[str, Any]]:
    """The examples by outcome."""
    named, several = content.found.targets.named, content.found.targets.kind != "binary"
    shown = []
    for outcome in outcomes(content.found.targets):
        plain = content.found.targets.kind == "multiclass" and outcome.called is True  # its name says all
        own = [example for example in content.examples if example.outcome.name == outcome.name]
        pictures = [
            {
                "unit": example.unit,
                "probability": f"{example.probability:.2f}",
                "of": named[example.outcome.place] if several and outcome.actual is None else "",
                "truth": example.truth if outcome.actual is None or (several and not plain) else "",
                "plain": grey_png(example.image),
                "overlay": overlay_png(example.image, example.saliency),
            }
            for example in own
        ]
        shown.append({"outcome": outcome, "pictures": pictures})
    return shown
