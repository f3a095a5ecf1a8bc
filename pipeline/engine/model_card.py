"""The model card: the contract as a page that a person reads."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import jinja2

from pipeline.clinical.report.honesty import times
from pipeline.clinical.report.precision import RUNTIMES
from pipeline.clinical.units import PLURAL
from pipeline.contract import Manifest
from pipeline.files import write_json, write_text
from pipeline.inference.signature import UNSIGNED

#: What nobody may take from a release's figures.
LIMITS = (
    "It knows the scanners, sites, ages and findings of the data above and no others; elsewhere it is to be validated.",
    "The figures rest on the test patients named above; the intervals say how little or much that is.",
    "A finding outside the classes above is not reported, and a low probability excludes no disease.",
    "The volumes it learnt from kept their faces; names, dates and identifiers were removed, pixels were not changed.",
    "The release holds no image.",
)
#: Who may use it, and for what not.
USERS = "those who do research on it, with somebody qualified reading every scan as before"
MISUSES = (
    "diagnosis or treatment on its word",
    "triage that delays or skips the reading of a scan",
    "other scans than those of `Input`, other findings than its classes, children where it learnt from none",
)
#: Sections of reports/metrics.json that the machine-readable card carries whole, as far as they were measured.
MEASURED = (
    *("test", "prevalence", "finetuned", "operating_point", "calibration", "usefulness", "levels", "subgroups"),
    *("comparison", "transfer", "sample_size", "explanation", "leakage", "test_set", "precision"),
)


def write(manifest: Manifest, compiled: Mapping[str, Any], folder: Path) -> None:
    """model_card.md for people and model_card.json for machines."""
    write_text(folder / "model_card.md", render(manifest, compiled))
    write_json(folder / "model_card.json", record(manifest))


def record(manifest: Manifest) -> dict[str, Any]:
    """The card as data: model_card.json. Every number is the contract's, which has it from reports/metrics.json."""
    metrics, criteria = manifest.validation["metrics"], manifest.validation["acceptance"]
    return {
        "name": manifest.name,
        "version": manifest.version,
        "signature": manifest.signature,
        "research_use_only": True,
        "intended_use": {
            "purpose": f"{manifest.task.target}: {', '.join(manifest.task.classes)}",
            "input": f"{manifest.selection.modality} series, {', '.join(manifest.selection.rules)}",
            "answer": _answer(manifest),
            "users": USERS,
            "not_for": list(MISUSES),
        },
        "data": dict(manifest.data),
        "backbone": manifest.backbone.model_dump(mode="json"),
        "calibration": manifest.calibration.model_dump(mode="json"),
        "runs": {**manifest.runs.model_dump(), "ladder": manifest.validation["precision"]},
        "evaluation": {name: metrics[name] for name in MEASURED if name in metrics},
        "not_measured": [name for name in MEASURED if name not in metrics],
        "acceptance": list(criteria),
        "waivers": [entry for entry in criteria if entry.get("waived")],
        "limits": list(LIMITS),
    }


def render(manifest: Manifest, compiled: Mapping[str, Any]) -> str:
    """`model_card.md.j2` filled in with the contract and compile.json; equal inputs give equal text."""
    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("pipeline.engine", "."),
        autoescape=False,  # noqa: S701 - Markdown, not HTML
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    environment.filters.update(line=_line, figure=_figure, fixed=_fixed, times=times)
    return environment.get_template("model_card.md.j2").render(
        manifest=manifest,
        answer=_answer(manifest),
        metrics=manifest.validation["metrics"],
        acceptance=manifest.validation["acceptance"],
        parity=manifest.validation["onnx_parity"],
        runtime=RUNTIMES[manifest.runs.runtime],
        ladder=manifest.validation["precision"],
        compiled=compiled,
        unsigned=manifest.signature == UNSIGNED,
        units=PLURAL[manifest.task.label_level],
        limits=LIMITS,
        users=USERS,
        misuses=MISUSES,
    )


def _answer(manifest: Manifest) -> str:
    """What stands in a prediction, and when a class is said to be there."""
    level, kind, threshold = manifest.task.label_level, manifest.task.kind, manifest.calibration.threshold
    if kind == "multiclass":
        return f"a probability of each class a {level}, in all 1; the most probable one is the decision"
    if kind == "multilabel":
        return f"a probability of each class a {level}, each by itself; there at {_fixed(threshold)} and above"
    return f"a probability a {level}; positive at {_fixed(threshold)} and above"


def _fixed(values: float | list[float] | None) -> str:
    """What calibration fixed, in the order of the classes."""
    each = values if isinstance(values, list) else [values]
    return ", ".join(f"{value:.4f}" for value in each if value is not None)


def _line(value: Any) -> str:
    """Free text on one line of a Markdown table."""
    return " ".join(str(value).split()).replace("|", "\\|")


def _figure(value: Any) -> str:
    """A figure of metrics.json, with its interval where it has one; never a number for what is undefined."""
    if isinstance(value, Mapping):
        if _figure(value.get("value")) == "not defined":
            return f"not defined ({_line(value.get('reason') or 'no reason recorded')})"
        low, high = _figure(value.get("low")), _figure(value.get("high"))
        return f"{_figure(value['value'])} ({low} to {high})"
    if isinstance(value, float) and value == value:
        return f"{value:.3f}"
    if isinstance(value, int | str):
        return _line(value)
    return "not defined"
