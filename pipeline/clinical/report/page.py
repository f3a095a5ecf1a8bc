"""The report's HTML."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

from pipeline.clinical import verdict
from pipeline.clinical.report import charts, transfer, wording
from pipeline.clinical.report.charts import MODELS, SHORT, Interval
from pipeline.clinical.report.content import Content, limits, weights
from pipeline.clinical.report.examples import outcomes
from pipeline.clinical.report.images import grey_png, overlay_png
from pipeline.clinical.split import SIDES

_HERE = Path(__file__).parent
_UNITS = {"patient": "patients", "study": "studies", "series": "series", "slice": "slices"}


def render(content: Content) -> str:
    """One self-contained HTML file: inline style, drawings and images, no script, no address of anything outside.

    Equal contents give equal bytes: there is no date in it.
    """
    loader = FileSystemLoader(_HERE)
    environment = Environment(
        loader=loader, autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    environment.filters.update(two=_two, interval=_interval)
    confidence = content.params.validate_.confidence
    return environment.get_template("page.html.j2").render(
        content=content,
        params=content.params,
        found=content.found,
        metrics=content.found.figures,
        models=MODELS,
        short=SHORT,
        sides=SIDES,
        units=_UNITS[content.params.data.label_level],
        confidence=f"{confidence:.0%}",
        style=Markup((_HERE / "style.css").read_text(encoding="utf-8")),  # noqa: S704  the file beside this one
        purpose=_purpose(content),
        verdict=verdict.transfer_verdict(content.found.difference) or "undefined",
        sentence=verdict.sentence(content.found.difference, confidence),
        wording=wording,
        tiles=_tiles(content),
        transfer=transfer.section(content.found, content.learned),
        drawings=_drawings(content),
        gallery=_gallery(content),
        limits=limits(content),
        weights=weights(content.backbone),
    )


def _purpose(content: Content) -> str:
    """What the model is for, in one sentence."""
    params = content.params
    rules = (params.ingest.planes, params.ingest.acquisition_types)
    contrasts = " or ".join(params.ingest.contrasts or []) or "any contrast"
    kind = ", ".join([contrasts, *(" or ".join(rule) for rule in rules if rule)])
    return f"The model gives every {params.data.label_level} of MRI ({kind}) {wording.purpose(params.data)}."


def _tiles(content: Content) -> list[dict[str, Any]]:
    """The headline figures, each with its interval or None, and what it means."""
    metrics = content.found.figures
    point, probabilities = metrics["operating_point"], metrics["calibration"]
    sensitivity, specificity, auroc = wording.notes(content.found)
    return [
        {"name": "AUROC", "of": metrics["finetuned"]["auroc"], "note": auroc},
        {"name": "Sensitivity", "of": point["sensitivity"], "note": sensitivity},
        {"name": "Specificity", "of": point["specificity"], "note": specificity},
        {"name": "Brier score", "of": probabilities["brier"], "note": "error of the probabilities; 0 is perfect"},
    ]


def _drawings(content: Content) -> dict[str, Markup]:
    point = content.found.figures["operating_point"]
    at = (1 - _known(point["specificity"]["value"]), _known(point["sensitivity"]["value"]))
    threshold = point["threshold"] if content.found.targets.kind == "binary" else None
    areas = [
        Interval(name, model, *(_known(content.found.figures[model]["auroc"][key]) for key in ("value", "low", "high")))
        for model, name in MODELS.items()
    ]
    pairs = (
        ("Over from scratch", "scratch", content.found.difference),
        ("Over the probe", "probe", content.found.over_probe),
    )
    differences = [Interval(name, cls, each.value, each.low, each.high) for name, cls, each in pairs]
    return {
        "roc": charts.roc(content.found.curves, at, threshold),
        "reliability": charts.reliability(content.found.bins, wording.observed(content.found.targets)),
        "areas": charts.forest("areas", areas, 0.5, "AUROC of the three models"),
        "differences": charts.forest("differences", differences, 0.0, "What fine-tuning adds to AUROC"),
        "training": charts.training(content.histories),
    }


def _gallery(content: Content) -> list[dict[str, Any]]:
    """The examples by outcome."""
    shown = []
    for outcome in outcomes(content.found.targets):
        own = [example for example in content.examples if example.outcome == outcome]
        pictures = [
            {
                "unit": example.unit,
                "probability": f"{example.probability:.2f}",
                "plain": grey_png(example.image),
                "overlay": overlay_png(example.image, example.saliency),
            }
            for example in own
        ]
        shown.append({"outcome": outcome, "pictures": pictures})
    return shown


def _known(value: float | None) -> float:
    """Undefined figures are NaN in numbers and None in JSON."""
    return math.nan if value is None else value


def _two(value: float | None) -> str:
    return "n/a" if value is None or math.isnan(value) else f"{value:.2f}"


def _interval(figure: dict[str, Any]) -> str:
    """`0.81 to 0.95`, or why there is none."""
    if math.isnan(_known(figure["low"])):
        return str(figure.get("reason", "no interval"))
    return f"{figure['low']:.2f} to {figure['high']:.2f}"
