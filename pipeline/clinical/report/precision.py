"""How a release runs: the rungs of the precision ladder on validation patients, and the chosen one on test patients."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pipeline.clinical.report.figures import ABSENT, known, number

#: What runs a graph, as a reader knows it.
RUNTIMES = {"onnxruntime": "ONNX Runtime", "openvino": "OpenVINO"}
COLUMNS = ("Largest", "Mean", "AUROC", "Flips", "Milliseconds", "Speed")
#: Of a difference of a probability, and of a change of AUROC.
_DIGITS = 4


def section(ladder: Mapping[str, Any], figures: Mapping[str, Any], units: str) -> dict[str, Any]:
    """What the section says.

    Args:
        ladder: models/export/ladder.json.
        figures: reports/metrics.json.
        units: what the units are called.
    """
    measured, asked = ladder["validation"], ladder["asked"]
    return {
        "caption": (
            f"{measured['units']} validation {units} of {measured['patients']} patients, each way to run the network "
            f"against fp32 in ONNX Runtime: largest and mean difference of a probability, change of AUROC, decisions "
            f"that flip. Milliseconds: one call with {measured['slices_of_a_call']} slices on "
            f"{ladder['machine']}; its shortest, as other work on a machine only makes it longer."
        ),
        "rule": (
            f"The fastest is taken that flips no decision farther than {asked['band']:g} from the threshold, and whose "
            f"AUROC falls by no more than {asked['auroc_change']:g}."
        ),
        "columns": COLUMNS,
        "rows": [_row(rung, ladder) for rung in ladder["rungs"]],
        "confirmation": _confirmation(figures.get("precision"), units),
    }


def name(rung: Mapping[str, Any]) -> str:
    """Runtime and precision in words."""
    return f"{RUNTIMES[rung['runtime']]}, {rung['precision']}"


def _row(rung: Mapping[str, Any], ladder: Mapping[str, Any]) -> dict[str, Any]:
    """One rung, whether it ran or not."""
    chosen = {key: rung[key] for key in ("runtime", "precision")} == ladder["runs"]
    shown = {"name": name(rung), "note": _note(rung, ladder), "cells": None}
    if rung["not_run"]:
        return {**shown, "cls": "", "went": "not run", "why": rung["not_run"]}
    went = ("met", "chosen") if chosen else ("missed", "refused") if rung["refused"] else ("", "allowed")
    base = known(ladder["rungs"][0]["milliseconds"]) / known(rung["milliseconds"])
    sizes = (_figure(rung["largest"]), _figure(rung["mean"]), _change(rung), _flips(rung))
    times = (number(rung["milliseconds"], 1), f"{base:.1f} \N{MULTIPLICATION SIGN}")
    cells = list(zip(COLUMNS, (*sizes, *times), strict=True))
    return {**shown, "cells": cells, "cls": went[0], "went": went[1], "why": rung["refused"] or ""}


def _note(rung: Mapping[str, Any], ladder: Mapping[str, Any]) -> str:
    """Of int8 how many layers stayed in float; what ONNX Runtime's fp16 is there for."""
    if rung["precision"] == "int8+bf16":
        return "the same graph, with what is in float in bf16"
    if rung["precision"] == "int8" and ladder["int8"]:
        left, whole = len(ladder["int8"]["left_in_float"]), f"{ladder['int8']['layers']} layers behind the stem"
        return f"{left} of {whole} left in float, the most sensitive" if left else f"all {whole}"
    if (rung["runtime"], rung["precision"]) == ("onnxruntime", "fp16"):
        return "for what the roundings do; not a candidate"
    return "what all are compared with" if rung is ladder["rungs"][0] else ""


def _change(figure: Mapping[str, Any]) -> str:
    """A change of AUROC with its interval, where any unit moved."""
    value, low, high = (figure["auroc_change"][key] for key in ("value", "low", "high"))
    return _figure(value) if low is None else f"{_figure(value)} ({_figure(low)} to {_figure(high)})"


def _figure(value: Any) -> str:
    """What rounds to 0 has no sign."""
    return number(round(known(value), _DIGITS) + 0.0, _DIGITS)


def _flips(figure: Mapping[str, Any]) -> str:
    outside = figure["flips_outside"]
    return f"{figure['flips']} ({outside} outside the band)" if figure["flips"] else "0"


def _confirmation(figure: Mapping[str, Any] | None, units: str) -> dict[str, str]:
    """What test patients say of the chosen rung."""
    if figure is None:
        return {"cls": "plain", "badge": "Not confirmed", "sentence": f"Test patients under the chosen rung: {ABSENT}."}
    if (figure["runtime"], figure["precision"]) == ("onnxruntime", "fp32"):
        said = "fp32 in ONNX Runtime runs, with which all else is compared: there is nothing to confirm."
        return {"cls": "positive", "badge": "Confirmed", "sentence": said}
    said = (
        f"{figure['backend']}, on {figure['units']} test {units}: largest difference of a probability "
        f"{_figure(figure['largest'])}, change of AUROC {_change(figure)}, decisions that flip: "
        f"{_flips(figure)}."
    )
    if figure["confirmed"]:
        return {"cls": "positive", "badge": "Confirmed", "sentence": f"{said} Test patients confirm the choice."}
    said += f" Not what validation patients promised: {figure['refused']}. It is not released unless somebody answers."
    return {"cls": "negative", "badge": "Not confirmed", "sentence": said}
