"""Releases on labelled patients whom none of them learnt from: what each says, and whether one is worse than another.

A release answers by its contract and its graph alone, as on a box; no training code takes part.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from scipy.stats import rankdata

from pipeline.clinical.labelled import Job, plan, slices
from pipeline.clinical.metrics import auroc, auroc_of, brier, sensitivity, specificity
from pipeline.clinical.paired import compare
from pipeline.clinical.ranking import ranked
from pipeline.clinical.resampling import Estimate, Floats, draw
from pipeline.clinical.said import Said, say
from pipeline.clinical.units import Units, units_of
from pipeline.inference.answers import Slices
from pipeline.inference.release import Release
from pipeline.targets import Targets, decided

#: The side of patients who taught no model here: they stand in no training or validation set.
FRESH = "fresh"
#: How there is a bound although no patient moves the difference.
SAME_RANKS = "both rank all units alike"
UNPAIRED = "no patient moves the difference: lower end of the one minus the other's value"

#: Gives a file of data/ingested by its path from the project's root, for as long as the context lasts.
Fetch = Callable[[Path], AbstractContextManager[Path]]
Rows = Iterable[Mapping[str, str]]


@dataclass(frozen=True)
class Answered:
    """U units of fresh patients, and what each of several releases says of them."""

    units: Units
    said: list[Said]


@dataclass(frozen=True)
class Compared:
    """AUROC of two releases on the same units, and the first's minus the second's, by patients in pairs."""

    first: Estimate
    second: Estimate
    difference: Estimate


def ask(releases: Sequence[Release], index: Rows, labels: Rows, taught: frozenset[str], fetch: Fetch) -> Answered:
    """Have releases of one task answer for the labelled patients of data/ingested, but for those in `taught`.

    One patient is gone through after the other, so that no more of them lie around.

    Args:
        releases: opened; the first one's task says what a label belongs to and means.
        index: rows of data/ingested/index.csv.
        labels: rows of data/ingested/labels.csv.
        taught: patients in the training or validation set of any of them.
        fetch: of volumes.

    Raises:
        LabelError: a label that the task does not know.
        DataError: a volume cannot be prepared.
    """
    level, targets = releases[0].manifest.task.label_level, releases[0].targets
    volumes, labelled = _by_patient(index), _by_patient(labels)
    rows: list[dict[str, str]] = []
    nothing = np.empty((0, targets.outputs))
    parts: list[list[Said]] = [[Said(nothing, nothing)] for _ in releases]
    for patient in sorted(labelled.keys() - taught):
        jobs, own = plan(volumes[patient], labelled[patient], {patient: FRESH}, level)
        units = units_of(own, FRESH, targets)
        prepared = _prepared(releases, jobs, fetch)
        for release, pictures, part in zip(releases, prepared, parts, strict=True):
            part.append(say(release.backend, pictures, units, release.manifest.calibration.neighbours_sd))
        rows += own
    said = [
        Said(np.concatenate([one.probabilities for one in part]), np.concatenate([one.logits for one in part]))
        for part in parts
    ]
    return Answered(units_of(rows, FRESH, targets), said)


def compared(answered: Answered, targets: Targets, confidence: float) -> Compared:
    """The first release against the second, by `paired.compare`.

    Where no patient moves the difference, there still is a lower end: 0 if both rank all units alike; else that of the
    first one's AUROC minus the second's AUROC, which forgoes what pairs gain.

    Args:
        answered: by two releases.
        targets: of their task.
        confidence: of the intervals, two-sided.
    """
    units = answered.units
    drawn = draw(units.patients, 0, confidence, 0)  # neither figure draws patients
    scores = [targets.scores(one.logits) for one in answered.said]
    one, other = (ranked(units.labels, each, drawn) for each in scores)
    difference = compare(one, other).difference
    first, second = auroc_of(one), auroc_of(other)
    if not np.isnan(difference.value) and np.isnan(difference.low):
        difference = _bounded(difference, first, second, scores)
    return Compared(first, second, difference)


def figures(answered: Answered, release: Release, confidence: float) -> dict[str, Estimate | str]:
    """How one release does on the units that it answered: counts in words, and figures with intervals over patients."""
    units, (said,), targets = answered.units, answered.said, release.targets
    drawn = draw(units.patients, 0, confidence, 0)
    called = decided(said.probabilities, release.manifest.calibration.threshold)
    return {
        "patients": str(len(set(units.patients))),
        "units": str(len(units.ids)),
        "positive": ", ".join(map(str, units.labels.sum(axis=0))),
        "AUROC": auroc(units.labels, targets.scores(said.logits), drawn),
        "sensitivity": sensitivity(units.labels, called, drawn),
        "specificity": specificity(units.labels, called, drawn),
        "Brier score": brier(units.labels, said.probabilities, drawn),
    }


def _bounded(difference: Estimate, first: Estimate, second: Estimate, scores: Sequence[Floats]) -> Estimate:
    ranks = [rankdata(each, axis=0) for each in scores]
    if np.array_equal(*ranks):
        return replace(difference, low=0.0, high=0.0, reason=None, method=SAME_RANKS)
    low = first.low - second.value
    return replace(difference, low=low, reason=difference.reason if np.isnan(low) else None, method=UNPAIRED)


def _prepared(releases: Sequence[Release], jobs: Sequence[Job], fetch: Fetch) -> list[Slices]:
    """The wanted slices of one patient as each release sees them."""
    found: list[list[Slices]] = [[] for _ in releases]
    for job in jobs:
        with fetch(job.path) as path:
            for release, part in zip(releases, found, strict=True):
                part.append(slices(replace(job, path=path), release.manifest.transform))
    return [np.concatenate(part) for part in found]


def _by_patient(rows: Rows) -> dict[str, list[Mapping[str, str]]]:
    found: dict[str, list[Mapping[str, str]]] = {}
    for row in rows:
        found.setdefault(row["patient"], []).append(row)
    return found
