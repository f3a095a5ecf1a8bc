"""How the model does in parts of the test set: by sex, age, vendor, field strength, site, and what the labels add.

Each group's figures rest on its own patients. The gap is the group's AUROC minus that of all others, with an interval
from those of both (square-and-add: Zou & Donner 2008, Stat Med 27:1693), as if they had no patient in common; where
they do, it is too wide rather than too narrow. Many groups are looked at, so that of twenty gaps one is expected to
stand out by chance.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from pipeline.clinical import metrics
from pipeline.clinical.ranking import Ranked, ranked
from pipeline.clinical.resampling import Estimate, Floats, draw, undefined
from pipeline.clinical.units import Units
from pipeline.validation_config import Criterion, Validate

UNKNOWN = "unknown"
COLUMNS = [
    *("attribute", "group", "units", "patients", "positive", "small"),
    *(f"{name}{end}" for name in ("auroc", "sensitivity", "specificity", "gap") for end in ("", "_low", "_high")),
    "warning",
]
#: First year of each age band after the first.
AGES = (18, 40, 60, 80)
#: Nominal field strengths; an imaging frequency gives 1.494 or 2.893.
TESLA = (0.2, 0.3, 0.35, 0.5, 0.55, 1.0, 1.5, 3.0, 7.0)

#: Attribute -> its column of index.csv.
_INDEX_COLUMNS = {"sex": "sex", "age_band": "age_years", "vendor": "vendor", "field_strength": "field_strength_t"}
#: Of labels.csv, whatever the labels file holds.
_LABEL_COLUMNS = {"series", "patient", "slice_index", "label", "site"}

Row = Mapping[str, str]
Attributes = dict[str, list[str]]


@dataclass(frozen=True)
class Answers:
    """What is known of U test units, all in their order.

    Attributes:
        units: their patients and labels (U, K).
        scores: float64 (U, K), by which they are ranked.
        called: bool (U, K), what the model says.
        attributes: of each attribute the group of each unit (U); empty where it has none.
    """

    units: Units
    scores: Floats
    called: npt.NDArray[np.bool_]
    attributes: Attributes


def attributes(units: Units, slices: Sequence[Row], index: Iterable[Row], labels: Sequence[Row]) -> Attributes:
    """The groups of each unit, by attribute: from the index, and from the site and further columns of the labels.

    Args:
        units: of one side.
        slices: rows of data/prepared/slices.csv.
        index: rows of data/ingested/index.csv.
        labels: rows of data/ingested/labels.csv.

    Returns:
        (U,) words by attribute. A unit of several values has them joined by `+`, and one without any an empty word.
    """
    scans = {row["series"]: row for row in index}
    by_label = {(row["series"], row["slice_index"]): row for row in labels}
    further = [name for name in (labels[0] if labels else {}) if name not in _LABEL_COLUMNS]
    of_unit: dict[str, list[tuple[Row, Row]]] = {unit: [] for unit in units.ids}
    for row, unit in zip((slices[place] for place in units.rows), units.slice_units, strict=True):
        series = row["series"]
        label = by_label.get((series, ""), by_label.get((series, row["slice_index"]), {}))
        of_unit[unit].append((scans.get(series, {}), label))

    def column(place: int, name: str) -> list[str]:
        return [_joined(word(name, pair[place].get(name, "")) for pair in of_unit[unit]) for unit in units.ids]

    found = {attribute: column(0, name) for attribute, name in _INDEX_COLUMNS.items()}
    return found | {name: column(1, name) for name in ("site", *further)}


def _joined(words: Iterable[str]) -> str:
    return "+".join(sorted({word for word in words if word}))


def word(name: str, value: str) -> str:
    """A band of ages or a nominal field strength; anything else as it stands."""
    if name not in ("age_years", "field_strength_t"):
        return value.strip()
    try:
        number = float(value)
    except ValueError:
        return ""
    if not np.isfinite(number):
        return ""
    if name == "field_strength_t":
        near = min(TESLA, key=lambda tesla: abs(tesla - number))
        return f"{near if abs(near - number) <= 0.05 * near else round(number, 2):g} T"
    bounds = (0, *AGES)
    band = sum(number >= first for first in AGES)
    return f"{bounds[band]}-{bounds[band + 1] - 1}" if band < len(AGES) else f"{AGES[-1]} and older"


def measure(answers: Answers, settings: Validate, criteria: Sequence[Criterion] = ()) -> list[dict[str, Any]]:
    """The figures of every group, as they stand in reports/metrics.json; attributes with one group are left out.

    Where only positives have a value (the size of a lesion), each group is its positives against all negatives.
    """
    bound = max((c.min for c in criteria if _of_sensitivity(c) and c.min is not None), default=None)
    found = []
    for name, values in answers.attributes.items():
        words = np.array(values)
        known = sorted({value for value in values if value})
        if not known or len(set(values)) < 2:
            continue
        negative = answers.units.labels.sum(axis=1) == 0
        shared = negative if answers.units.labels.shape[1] == 1 and not (words[negative] != "").any() else None
        if shared is not None and len(known) < 2:
            continue
        groups = known if shared is not None else [*known, *([""] if "" in values else [])]
        found += [_group(answers, name, group, words == group, shared, settings, bound) for group in groups]
    return found


def _of_sensitivity(criterion: Criterion) -> bool:
    return criterion.metric.startswith("operating_point.sensitivity.")


def _group(
    answers: Answers,
    name: str,
    group: str,
    inside: npt.NDArray[np.bool_],
    shared: npt.NDArray[np.bool_] | None,
    settings: Validate,
    bound: float | None,
) -> dict[str, Any]:
    own, others = (inside, ~inside) if shared is None else (inside | shared, ~inside | shared)
    given = _ranked(answers, own, settings)
    area, sensitivity, specificity = _figures(given, answers.called[own])
    rest = _figures(_ranked(answers, others, settings), answers.called[others])[0]
    if shared is not None:
        specificity = undefined("only positives have a value of this", 0)
    patients = len({answers.units.patients[place] for place in np.flatnonzero(inside)})
    labels = answers.units.labels[inside]
    warning = None
    if bound is not None and sensitivity.high < bound:
        warning = f"sensitivity is below {bound:g}: the whole of its interval, up to {sensitivity.high:.3f}"
    return {
        "attribute": name,
        "group": group or UNKNOWN,
        "units": int(inside.sum()),
        "patients": patients,
        "positive": int(labels.any(axis=1).sum()),
        "small": patients < settings.small_group or given.scarcest < settings.small_group / 2,
        "auroc": area.figures(),
        "sensitivity": sensitivity.figures(),
        "specificity": specificity.figures(),
        "gap": _gap(area, rest).figures(),
        "warning": warning,
    }


def _ranked(answers: Answers, inside: npt.NDArray[np.bool_], settings: Validate) -> Ranked:
    """The units of a group by their scores; none of the intervals draws patients."""
    patients = [answers.units.patients[place] for place in np.flatnonzero(inside)]
    drawn = draw(patients, 0, settings.confidence, 0)
    return ranked(answers.units.labels[inside], answers.scores[inside], drawn)


def _figures(given: Ranked, called: npt.NDArray[np.bool_]) -> tuple[Estimate, Estimate, Estimate]:
    """AUROC, sensitivity and specificity of the units of a group."""
    if not len(given.labels):
        nobody = undefined("no unit", 0)
        return nobody, nobody, nobody
    area = metrics.auroc_of(given)
    if not np.isfinite(given.scores).all():
        unknown = undefined("a score is not finite", len(given.labels))
        return area, unknown, unknown
    return (
        area,
        metrics.sensitivity(given.labels, called, given.resamples),
        metrics.specificity(given.labels, called, given.resamples),
    )


def _gap(own: Estimate, rest: Estimate) -> Estimate:
    """The difference of two figures, and its interval from theirs."""
    for estimate, whose in ((own, "here"), (rest, "among the others")):
        if not np.isfinite(estimate.value):
            return undefined(f"{whose}: {estimate.reason}", own.n)
    value = own.value - rest.value
    low = value - float(np.hypot(own.value - own.low, rest.high - rest.value))
    high = value + float(np.hypot(own.high - own.value, rest.value - rest.low))
    reason = None if np.isfinite([low, high]).all() else own.reason or rest.reason
    return Estimate(value, max(low, -1.0), min(high, 1.0), own.n, reason)


def table(groups: Iterable[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Rows of reports/plots/subgroups.csv, with `COLUMNS`; empty cells where a figure is undefined."""
    rows = []
    for group in groups:
        row = {name: value for name, value in group.items() if not isinstance(value, Mapping)}
        for name in ("auroc", "sensitivity", "specificity", "gap"):
            for end, key in (("", "value"), ("_low", "low"), ("_high", "high")):
                value = group[name][key]
                row[f"{name}{end}"] = value if np.isfinite(value) else ""
        rows.append({**row, "small": str(row["small"]).lower(), "warning": row["warning"] or ""})
    return rows
