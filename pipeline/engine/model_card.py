"""The model card: the contract as a page that a person reads."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import jinja2

from pipeline.contract import Manifest
from pipeline.inference.signature import UNSIGNED


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
    environment.filters.update(line=_line, figure=_figure, fixed=_fixed)
    return environment.get_template("model_card.md.j2").render(
        manifest=manifest,
        answer=_answer(manifest),
        metrics=manifest.validation["metrics"],
        acceptance=manifest.validation["acceptance"],
        parity=manifest.validation["onnx_parity"],
        compiled=compiled,
        unsigned=manifest.signature == UNSIGNED,
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
