"""What the model is worth: its decision curve, and what the threshold means for a thousand patients."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from itertools import groupby
from typing import Any

from markupsafe import Markup

from pipeline.clinical.report.charts import cell
from pipeline.clinical.report.figures import at, known, percent
from pipeline.clinical.report.svg import Frame, picture, tag, ticks

Rows = Sequence[Mapping[str, Any]]

#: What becomes of a patient, in the words of the page, and the class of its colour.
FATES = (
    ("found", "found: positive, and called"),
    ("missed", "missed: positive, and not called"),
    ("false_alarms", "false alarms: negative, and called"),
    ("cleared", "cleared: negative, and not called"),
)
_COLUMNS, _STEP = 40, 10
#: So many runs of thresholds are named, the longest.
_RUNS = 3


def decision_curve(rows: Rows, threshold: float) -> Markup:
    """Net benefit by threshold probability of model, treat-all and treat-none (Vickers and Elkin 2006, MDM 26:565).

    Args:
        rows: of reports/plots/decision_curve.csv.
        threshold: the operating one; NaN where there is not one for all.
    """
    read = _floats(rows)
    best = max(
        [0.01, *(row[key] for row in read for key in ("model", "high") if math.isfinite(row.get(key, math.nan)))]
    )
    low = -0.25 * best
    last = max(row["threshold"] for row in read)
    frame = Frame(52, 40, 392, 340, (0, last), (low, 1.08 * best))
    frame.grid(ticks(0, last), ticks(low, 1.08 * best))
    frame.titles("Threshold probability", "Net benefit")
    frame.band([(r["threshold"], max(r.get("low", math.nan), low), r.get("high", math.nan)) for r in read], "finetuned")
    frame.line([(r["threshold"], r["treat_none"]) for r in read], "none")
    frame.line([(r["threshold"], r["treat_all"]) for r in read if r["treat_all"] >= low], "all")
    frame.line([(r["threshold"], r["model"]) for r in read if r["model"] >= low], "finetuned")
    if 0 < threshold <= last:
        frame.segment((threshold, low), (threshold, 1.08 * best), "reference")
        anchor = "tick halo end" if threshold > 0.6 * last else "tick halo"
        frame.text(
            frame.x(threshold) + (-6 if "end" in anchor else 6), frame.top + 14, f"used: {threshold:.2f}", anchor
        )
    return picture("decision", 460, 424, "Decision curve on the test patients", _best(read), frame.parts)


def _best(rows: Sequence[Mapping[str, float]]) -> str:
    """At which thresholds the model is worth more than both simple rules: each unbroken run of them."""
    runs = [list(run) for better, run in groupby(rows, key=_better) if better]
    if not runs:
        return "At no threshold is the model worth more than treating all or none."
    longest = sorted(runs, key=len, reverse=True)[:_RUNS]
    said = [_run(run) for run in runs if run in longest]
    rest = sum(map(len, runs)) - sum(map(len, longest))
    if rest:
        said.append(f"at {rest} further one{'s' if rest > 1 else ''}")
    places = said[0] if len(said) == 1 else f"{', '.join(said[:-1])} and {said[-1]}"
    return f"{places[0].upper()}{places[1:]} the model is worth more than treating all or none."


def _better(row: Mapping[str, float]) -> bool:
    return row["model"] > max(row["treat_all"], row["treat_none"], 0) + 1e-9


def _run(run: Sequence[Mapping[str, float]]) -> str:
    first, last = run[0]["threshold"], run[-1]["threshold"]
    return f"at a threshold of {first:.2f}" if first == last else f"between thresholds of {first:.2f} and {last:.2f}"


def summary(rows: Rows) -> str:
    """The decision curve in a sentence."""
    return _best(_floats(rows))


def numbers(rows: Rows, about: int = 11) -> list[list[str]]:
    """Some rows of the decision curve as text: threshold, model with interval, treat all, treat none."""
    chosen = _floats([rows[round(k)] for k in _spread(len(rows), about)])
    said = []
    for values in chosen:
        bounds = f" ({values['low']:.3f} to {values['high']:.3f})" if math.isfinite(values.get("low", math.nan)) else ""
        model = f"{values['model']:.3f}{bounds}"
        said.append([f"{values['threshold']:.2f}", model, f"{values['treat_all']:.3f}", f"{values['treat_none']:.3f}"])
    return said


def _spread(count: int, about: int) -> list[float]:
    """About so many places of a list, ends included."""
    most = min(count, about)
    return [k * (count - 1) / max(1, most - 1) for k in range(most)]


def thousand(figures: Mapping[str, Any], units: str) -> list[dict[str, Any]]:
    """For each stated prevalence what becomes of 1,000 `units`, as counts, a drawing and predictive values."""
    stated = at(figures, "operating_point.at_prevalence") or {}
    found = []
    for share, values in sorted(stated.items(), key=lambda item: float(item[0])):
        counts = _whole(values.get("per_1000") or {})
        if counts is None:
            continue
        words = ", ".join(f"{counts[key]} {key.replace('_', ' ')}" for key, _ in FATES)
        title = f"1,000 {units}, {round(1000 * float(share))} of them positive"
        found.append(
            {
                "prevalence": f"{100 * float(share):g}%",
                "counts": counts,
                "ppv": percent(values.get("ppv")),
                "npv": percent(values.get("npv")),
                "title": title,
                "words": words,
                "drawing": icons(f"thousand-{share.replace('.', '-')}", title, words, counts),
            }
        )
    return found


def _whole(counts: Mapping[str, Any]) -> dict[str, int] | None:
    """Counts as whole numbers that still make a thousand; None where one is undefined."""
    values = {key: known(counts.get(key)) for key, _ in FATES}
    if not all(map(math.isfinite, values.values())):
        return None
    whole = {key: math.floor(value + 1e-9) for key, value in values.items()}
    by_rest = sorted(values, key=lambda key: whole[key] - values[key])
    for key in by_rest[: max(0, round(sum(values.values())) - sum(whole.values()))]:
        whole[key] += 1
    return whole


def icons(name: str, title: str, words: str, counts: Mapping[str, int]) -> Markup:
    """A mark a patient, row after row: discs found, crosses missed, rings false alarms, points cleared."""
    parts, place = [], 0
    for key, _ in FATES:
        spots = [divmod(k, _COLUMNS) for k in range(place, place + counts[key])]
        place += counts[key]
        centres = [(column * _STEP + 5, row * _STEP + 5) for row, column in spots]
        if key == "missed":
            path = "".join(f"M{x - 3} {y - 3}l6 6m0-6l-6 6" for x, y in centres)
        elif key == "false_alarms":
            path = "".join(f"M{x - 3} {y}a3 3 0 1 0 6 0a3 3 0 1 0-6 0" for x, y in centres)
        else:
            path = "".join(f"M{x} {y}h0" for x, y in centres)
        if path:
            parts.append(tag("path", d=path, cls=f"icon {key.replace('_', '-')}"))
    height = math.ceil(place / _COLUMNS) * _STEP
    return picture(name, _COLUMNS * _STEP, height, title, words, parts)


def _floats(rows: Rows) -> list[dict[str, float]]:
    return [{name: cell(row, name) for name in row} for row in rows]
