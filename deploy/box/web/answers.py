"""What was said of a study, in words and figures for a page."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType

from deploy.box.journal import Study
from pipeline.contract import Manifest
from pipeline.targets import Targets


@dataclass(frozen=True)
class Probability:
    """Of one class: its calibrated probability, and the threshold where there is one; 0 to 1."""

    name: str
    value: float
    threshold: float | None


@dataclass(frozen=True)
class Answer:
    """What was said of one unit of a study, or the reason why nothing was; no UID.

    Attributes:
        unit: such as `series 2, slice 1`: series by their own numbers where they are known, slices in their order here.
        probabilities: of each class; empty where there is no answer.
        decision: in words.
        reason: a stable code, and the reason in words.
    """

    unit: str
    probabilities: tuple[Probability, ...]
    decision: str
    reason: str


def answers(
    study: Study, manifest: Manifest | None, series_numbers: Mapping[str, str] = MappingProxyType({})
) -> list[Answer]:
    """All of one study, in the order in which they were given.

    Args:
        study: with the last answers that it had.
        manifest: of the release that gave them; None: it is gone, and of classes only their places can be told.
        series_numbers: of series by their UIDs, as a viewer lists them.
    """
    if not study.predictions:
        return []
    numbers: dict[str, dict[str, int | str]] = {"SeriesInstanceUID": {**series_numbers}, "SOPInstanceUID": {}}
    found = []
    for each in json.loads(study.predictions):
        words = []
        for key, name in (("SeriesInstanceUID", "series"), ("SOPInstanceUID", "slice")):
            if each[key]:
                words.append(f"{name} {numbers[key].setdefault(each[key], len(numbers[key]) + 1)}")
        if each["status"] == "ok":
            said = _probabilities(each["probabilities"], manifest)
            decision = _decision(each["decision"], binary=len(said) == 1)
            found.append(Answer(", ".join(words) or "study", said, decision, ""))
        else:
            found.append(Answer(", ".join(words) or "-", (), "no answer", f"{each['status']}: {each['message']}"))
    return found


def summary(study: Study, manifest: Manifest | None) -> str:
    """In one line: the answer where there is one, how many of each kind where there are several."""
    said = answers(study, manifest) if study.state == "answered" else []
    given = [each for each in said if each.probabilities]
    without = f"{len(said) - len(given)} without answer" if len(said) > len(given) else ""
    if not given:
        return "no answer" if study.state == "answered" else ""
    if len(given) == 1:
        highest = max(given[0].probabilities, key=lambda each: each.value)
        return ", ".join(filter(None, [f"{given[0].decision} ({highest.value:.2f})", without]))
    kinds = {decision: sum(each.decision == decision for each in given) for decision in (e.decision for e in given)}
    return ", ".join(filter(None, [*(f"{count} {decision}" for decision, count in kinds.items()), without]))


def _probabilities(values: list[float], manifest: Manifest | None) -> tuple[Probability, ...]:
    if manifest is None:
        return tuple(Probability(f"class {place}", value, None) for place, value in enumerate(values, start=1))
    fixed = manifest.calibration.threshold
    thresholds = fixed if isinstance(fixed, list) else [fixed] * len(values)
    named = Targets(manifest.task.kind, tuple(manifest.task.classes)).named
    return tuple(Probability(*each) for each in zip(named, values, thresholds, strict=True))


def _decision(decision: str, binary: bool) -> str:
    if binary:
        return {"1": "positive", "0": "negative"}.get(decision, decision)
    return decision.replace(";", ", ") or "none"
