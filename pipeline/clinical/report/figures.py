"""Figures of reports/metrics.json as a reader sees them; what is undefined or absent is said, never a number."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from pipeline.clinical.report.svg import minus

#: What stands for a figure that is not there.
ABSENT = "not measured"

#: Figures that criteria name, for readers who do not know the file.
NAMES = {
    "finetuned.auroc": "AUROC",
    "finetuned.average_precision": "Average precision",
    "operating_point.sensitivity": "Sensitivity",
    "operating_point.specificity": "Specificity",
    "operating_point.ppv": "Positive predictive value",
    "operating_point.npv": "Negative predictive value",
    "calibration.brier": "Brier score",
    "calibration.ece": "Calibration error (ECE)",
    "calibration.slope": "Calibration slope",
    "calibration.intercept": "Calibration intercept",
    "transfer.verdict": "Verdict on transfer",
    "usefulness.net_benefit": "Net benefit",
    "usefulness.over_treat_all": "Net benefit over treating all",
    "leakage.near": "Nearly equal slices on two sides",
    "leakage.exact": "Equal slices on two sides",
    "data.source": "Source of the data",
    "data.licence": "Licence of the data",
    "test_set.opened": "Times the test set was opened",
    "precision.confirmed": "Chosen precision confirmed by test patients",
    "test_set.threshold_moved": "Threshold changed after the test set was opened",
}
_ENDS = {"value": "", "low": ", lower end of the interval", "high": ", upper end of the interval"}


def at(figures: Mapping[str, Any], name: str) -> Any:
    """The figure of a dotted name; None where there is none."""
    found: Any = figures
    for part in name.split("."):
        if not isinstance(found, Mapping) or part not in found:
            return None
        found = found[part]
    return found


def known(value: Any) -> float:
    """A number, NaN for what is undefined, which is None in JSON."""
    return float(value) if isinstance(value, (int, float)) else math.nan


def estimate(figure: Any) -> dict[str, Any]:
    """A figure with its interval from either form: a mapping with value, low and high, or a bare number."""
    if isinstance(figure, Mapping):
        return {"value": None, "low": None, "high": None, **figure}
    return {"value": figure, "low": None, "high": None}


def number(value: Any, digits: int = 2) -> str:
    """`0.89`, or n/a; of two digits three where it would else be rounded to 1."""
    value = known(value)
    if digits == 2 and 0.995 <= value < 0.9995:
        digits = 3
    if math.isnan(value):
        return "n/a"
    if 1000 <= abs(value) < math.inf:
        return minus(f"{value:,.0f}")
    return minus(f"{value:.{digits}f}") if math.isfinite(value) else "\N{INFINITY}"


def interval(figure: Any, digits: int = 2) -> str:
    """`0.81 to 0.95`, or why there is none."""
    found = estimate(figure)
    if math.isnan(known(found["low"])) or math.isnan(known(found["high"])):
        return str(found.get("reason") or "no interval")
    return f"{number(found['low'], digits)} to {number(found['high'], digits)}"


def shown(figure: Any, digits: int = 2) -> str:
    """`0.89 (0.81 to 0.95)`, or that and why it is undefined, or that it is not measured."""
    if figure is None:
        return ABSENT
    found = estimate(figure)
    if math.isnan(known(found["value"])):
        return f"undefined: {found.get('reason') or 'no reason recorded'}"
    if math.isnan(known(found["low"])):
        return number(found["value"], digits)
    return f"{number(found['value'], digits)} ({interval(found, digits)})"


def percent(figure: Any) -> str:
    """`96% (80% to 99%)`, or why not."""
    found = estimate(figure)
    if math.isnan(known(found["value"])):
        return shown(figure)
    value = share(found["value"])
    return value if math.isnan(known(found["low"])) else f"{value} ({share(found['low'])} to {share(found['high'])})"


def share(value: Any) -> str:
    """A share of 1 in percent, with more digits near the ends, where they make the difference."""
    hundredths = 100 * known(value)
    for digits in range(3):
        if 10**-digits / 2 <= hundredths < 100 - 10**-digits / 2 or hundredths in (0.0, 100.0):
            return f"{hundredths:.{digits}f}%"
    return "< 0.01%" if hundredths < 50 else "> 99.99%"


def probability(p: Any) -> str:
    """A p-value to two figures, as journals ask for it."""
    value = known(p)
    if math.isnan(value):
        return "n/a"
    if value < 0.001:
        return "< 0.001"
    return f"{value:.3f}" if value < 0.1 else f"{value:.2f}"


def plain_name(metric: str) -> str:
    """What a criterion's figure is called; its dotted name where it has no other."""
    if metric in NAMES:
        return NAMES[metric]
    stem, _, end = metric.rpartition(".")
    return NAMES[stem] + _ENDS[end] if stem in NAMES and end in _ENDS else metric
