"""The first page of the report: what was asked, what came, and the headline figures."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from pipeline.clinical.acceptance import STATED, Result
from pipeline.clinical.report import honesty, wording
from pipeline.clinical.report.content import Content
from pipeline.clinical.report.figures import at, estimate, known, number, percent, plain_name


def purpose(content: Content) -> str:
    """What the model is for, in one sentence."""
    params = content.params
    rules = (params.ingest.planes, params.ingest.acquisition_types)
    contrasts = " or ".join(params.ingest.contrasts or []) or "any contrast"
    kind = ", ".join([contrasts, *(" or ".join(rule) for rule in rules if rule)])
    return f"The model gives every {params.data.label_level} of MRI ({kind}) {wording.purpose(params.data)}."


def verdict(results: Sequence[Result]) -> dict[str, str]:
    """Whether the criteria of params.yaml are met, as a badge, its class and a sentence."""
    missed = [result for result in results if not result.passed]
    waived = [result for result in missed if result.waived]
    met = f"{len(results) - len(missed)} of {len(results)} criteria are met"
    if not missed:
        return {"cls": "positive", "badge": "Meets its criteria", "sentence": f"{met}."}
    names = ", ".join(plain_name(result.metric) for result in missed)
    if len(waived) == len(missed):
        said = f"{met}. Missed, and let through in writing: {names}."
        return {"cls": "waived", "badge": "Met, with waivers", "sentence": said}
    return {"cls": "negative", "badge": "Falls short", "sentence": f"{met}. Missed: {names}."}


def criteria(results: Sequence[Result]) -> list[dict[str, Any]]:
    """A row for each criterion: what was asked, what came, how it went."""
    return [
        {
            "name": plain_name(result.metric),
            "metric": result.metric,
            "bound": result.bound,
            "value": _came(result),
            "went": "met" if result.passed else "waived" if result.waived else "missed",
            "reason": "" if result.passed or result.reason in _restated(result.value) else result.reason,
            "waiver": result.waiver if result.waived else None,
        }
        for result in results
    ]


def _restated(value: float | str | None) -> tuple[str, ...]:
    """Reasons that say no more than what came."""
    return (f"{value:.4g}" if isinstance(value, (int, float)) else "", f"is {value}")


def _came(result: Result) -> str:
    """A figure as it came: a count as it is, all else to three decimals; of a text only whether it is there."""
    if result.bound == STATED:
        return "stated" if result.passed else "empty"
    value = result.value
    return number(value, 3) if isinstance(value, float) else "undefined" if value is None else str(value)


def findings(content: Content, units: str) -> list[str]:
    """The answer in sentences."""
    figures = content.figures
    point = figures["operating_point"]
    of = [point["sensitivity"], point["specificity"]]
    sensitivity, specificity = (percent(figure) for figure in of)
    if any(math.isnan(known(figure["value"])) for figure in of):
        said = [f"Sensitivity: {sensitivity}. Specificity: {specificity}."]
    elif content.found.targets.kind == "binary":
        at = f"At the threshold {number(point['threshold'])}, {honesty.fixed(figures)},"
        said = [f"{at} it finds {sensitivity} of the positive {units} and clears {specificity} of the negative ones."]
    else:
        mean = "in the mean of the classes"
        said = [f"It finds {sensitivity} of the {units} of a class and clears {specificity} of the others, {mean}."]
    area = figures["finetuned"]["auroc"]
    if math.isfinite(known(area["value"])):
        said.append(
            f"Of one {content.params.data.label_level} with the finding and one without, drawn by chance, it ranks the "
            f"one with it higher in {percent(area)} of such pairs."
        )
    return said


def tiles(content: Content) -> list[dict[str, Any]]:
    """The headline figures, each with its interval or the reason why it has none, and what it means."""
    figures = content.figures
    point = figures["operating_point"]
    sensitivity, specificity, auroc = wording.notes(content.found)
    found = [
        {"name": "AUROC", "of": figures["finetuned"]["auroc"], "note": auroc},
        {"name": "Sensitivity", "of": point["sensitivity"], "note": sensitivity},
        {"name": "Specificity", "of": point["specificity"], "note": specificity},
    ]
    precision = at(figures, "finetuned.average_precision")
    if precision is not None:
        share = known(figures.get("prevalence"))
        note = "area under precision over recall" + (f"; {share:.2f} is chance" if share == share else "")
        found.append({"name": "Average precision", "of": estimate(precision), "note": note})
    found.append(
        {
            "name": "Brier score",
            "of": figures["calibration"]["brier"],
            "note": "error of the probabilities; 0 is perfect",
        }
    )
    slope = at(figures, "calibration.slope")
    if slope is not None:
        note = "1 is right; below 1 the probabilities are too extreme"
        found.append({"name": "Calibration slope", "of": estimate(slope), "note": note})
    return found


def further(content: Content) -> list[tuple[str, Any, str]]:
    """More figures of the decision at the threshold, as far as they were measured: name, figure, meaning."""
    point = content.figures["operating_point"]
    names = (
        ("ppv", "Positive predictive value", "share of the called that are positive, among these test units"),
        ("npv", "Negative predictive value", "share of the cleared that are negative, among these test units"),
        ("likelihood_ratio_positive", "Positive likelihood ratio", "how many times a call multiplies the odds"),
        ("likelihood_ratio_negative", "Negative likelihood ratio", "how many times a clearance multiplies the odds"),
    )
    return [(name, point[key], meaning) for key, name, meaning in names if key in point]
