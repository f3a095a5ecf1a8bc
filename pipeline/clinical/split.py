"""Patients into train, val and test: every patient on one side."""

from __future__ import annotations

import hashlib
import json
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, get_args

import numpy as np

from pipeline.config import Split
from pipeline.errors import LeakageError, SplitError
from pipeline.targets import BINARY, SEPARATOR, Targets

Side = Literal["train", "val", "test"]
SIDES: tuple[Side, ...] = get_args(Side)
COLUMNS = ("patient", "split", "site", "label")

#: Patients with a unit of a class, and patients with one that is not of it, that each side needs at least: resampling
#: patients says nothing about a class that one patient stands for.
LEAST_PATIENTS = 2

_STREAM = 11  # this module's own stream of the one seed


@dataclass(frozen=True)
class Patient:
    """A labelled patient.

    Attributes:
        patient: pseudonym.
        order: sorted hashes of the patient's series; unlike the pseudonym it is the same under another key.
        sites: where the patient's labelled units come from; empty when the labels name no site.
        present: places of the classes that some unit is of; place 0 of a binary task is the positive class.
        absent: those that some unit is not of; with labels by slice most patients have both.
    """

    patient: str
    order: tuple[str, ...]
    sites: tuple[str, ...]
    present: frozenset[int]
    absent: frozenset[int]

    @property
    def positive(self) -> bool:
        """Whether some unit is of a class: positive, where the task is binary."""
        return bool(self.present)

    @property
    def site(self) -> str:
        """The site as it stands in split.csv; several are joined by `+`."""
        return "+".join(self.sites)

    def label(self, targets: Targets) -> str:
        """The label as it stands in split.csv: 1 if any unit is positive, or the classes that some unit is of."""
        if targets.kind == "binary":
            return str(int(self.positive))
        return SEPARATOR.join(map(str, sorted(self.present)))


def labelled_patients(
    index: Sequence[Mapping[str, str]], labels: Sequence[Mapping[str, str]], targets: Targets = BINARY
) -> list[Patient]:
    """The patients with a label, in an order that does not depend on their pseudonyms.

    Args:
        index: rows of data/ingested/index.csv.
        labels: rows of data/ingested/labels.csv.
        targets: what they mean.

    Raises:
        LeakageError: the same scan came under two patients.
    """
    hashes: dict[str, set[str]] = defaultdict(set)
    owner: dict[str, str] = {}
    for row in index:
        if owner.setdefault(row["source_sha256"], row["patient"]) != row["patient"]:
            raise LeakageError(
                "every scan to belong to one patient",
                f"the same scan under the patients {owner[row['source_sha256']]} and {row['patient']}",
                "Remove one of the two copies, or give both the same PatientID.",
            )
        hashes[row["patient"]].add(row["source_sha256"])
    units: dict[str, list[Mapping[str, str]]] = defaultdict(list)
    for row in labels:
        units[row["patient"]].append(row)
    found = [_patient(patient, hashes[patient], rows, targets) for patient, rows in units.items()]
    return sorted(found, key=lambda patient: patient.order)


def _patient(patient: str, hashes: Iterable[str], rows: Sequence[Mapping[str, str]], targets: Targets) -> Patient:
    sites = tuple(sorted({row["site"] for row in rows if row["site"]}))
    encoded = targets.encode([row["label"] for row in rows])
    some, every = encoded.any(axis=0), encoded.all(axis=0)
    present, absent = (frozenset(np.flatnonzero(there).tolist()) for there in (some, ~every))
    return Patient(patient, tuple(sorted(hashes)), sites, present, absent)


def divide(patients: Sequence[Patient], settings: Split, seed: int, targets: Targets = BINARY) -> dict[str, Side]:
    """The side of each patient (by pseudonym), stratified by class and, within a class, by site.

    A patient of several classes belongs to the stratum of the rarest. The rarest class is dealt first, and what it
    brings to the others counts there (iterative stratification; Sechidis et al. 2011, ECML PKDD); those of no class
    are a stratum, too. With `hold_out_sites` the patients of these sites are the test side, whole, and nobody else is;
    the others are divided over train and val in the proportion of their shares.

    Raises:
        SplitError: an unknown site, or too few patients of a class, in all or on a side.
    """
    _check_sites(patients, settings.hold_out_sites)
    _check_counts(patients, targets)
    held_out = set(settings.hold_out_sites)
    sides: dict[str, Side] = {p.patient: "test" for p in patients if held_out & set(p.sites)}
    shares: dict[Side, float] = {"train": settings.train, "val": settings.val, "test": settings.test}
    if held_out:
        shares = {side: shares[side] / max(settings.train + settings.val, 1e-9) for side in ("train", "val")}
    free = [p for p in patients if p.patient not in sides]
    for place, group in _strata(free, seed, targets):
        dealt = [sides[p.patient] for p in free if p.patient in sides and place in p.present]
        sides |= _deal([p.patient for p in group], shares, dealt)
    _check_sides(patients, sides, targets)
    return sides


def _strata(patients: Sequence[Patient], seed: int, targets: Targets) -> list[tuple[int | None, list[Patient]]]:
    """The patients of each class (None: of no class), those of several in the rarest; the rarest class first."""
    size = {place: _count(patients, place, True) for place in range(targets.outputs)}
    strata: dict[int | None, list[Patient]] = {place: [] for place in (None, *size)}
    for patient in patients:
        strata[min(patient.present, key=lambda place: (size[place], place), default=None)].append(patient)
    rng = np.random.default_rng([seed, _STREAM])
    # Shuffled, then by site: neighbours are dealt to different sides, so each site is spread as far as it goes.
    shuffled = {
        place: sorted((group[i] for i in rng.permutation(len(group))), key=lambda p: p.sites)
        for place, group in strata.items()
    }
    return [*((place, shuffled[place]) for place in sorted(size, key=lambda p: (size[p], p))), (None, shuffled[None])]


def _deal(patients: Sequence[str], shares: Mapping[Side, float], before: Sequence[Side]) -> dict[str, Side]:
    """Each patient in turn to the side that is furthest below its share, given the sides of those `before`."""
    dealt: dict[str, Side] = {}
    count = {side: before.count(side) for side in shares}
    for position, patient in enumerate(patients, start=1 + len(before)):
        side = max(shares, key=lambda name: shares[name] * position - count[name])
        count[side] += 1
        dealt[patient] = side
    return dealt


def _check_sites(patients: Sequence[Patient], wanted: Sequence[str]) -> None:
    known = sorted({site for patient in patients for site in patient.sites})
    unknown = [site for site in wanted if site not in known]
    if unknown:
        there = ", ".join(known) if known else "none (the labels have no `site` column, or ingest.keep_site is false)"
        raise SplitError(
            "split.hold_out_sites to name sites of the labels' `site` column",
            f"{', '.join(map(repr, unknown))}",
            f"Sites there: {there}.",
        )


def _kinds(targets: Targets) -> list[tuple[str, int, bool]]:
    """Which patients every side needs, in words: of each class (its place) those with a unit of it, or not of it."""
    if targets.kind == "binary":
        return [("a positive unit", 0, True), ("a negative unit", 0, False)]
    return [
        (f"a unit {'' if of else 'that is not '}of class {name!r}", place, of)
        for place, name in enumerate(targets.named)
        for of in (True, False)
    ]


def _count(patients: Iterable[Patient], place: int, of: bool) -> int:
    return sum(place in (p.present if of else p.absent) for p in patients)


def _check_counts(patients: Sequence[Patient], targets: Targets) -> None:
    """That there are enough of every kind for three sides."""
    least = LEAST_PATIENTS * len(SIDES)
    remedy = "Label more patients."
    if targets.kind != "binary":
        remedy = "Merge this class with another, drop it from data.classes and from the labels, or label more patients."
    for words, place, of in _kinds(targets):
        count = _count(patients, place, of)
        if count < least:
            raise SplitError(
                f"at least {least} patients with {words}, {LEAST_PATIENTS} for each of {', '.join(SIDES)}",
                f"{count} (of {len(patients)} patients)",
                remedy,
            )


def _check_sides(patients: Sequence[Patient], sides: Mapping[str, Side], targets: Targets) -> None:
    for side in SIDES:
        here = [patient for patient in patients if sides[patient.patient] == side]
        for words, place, of in _kinds(targets):
            count = _count(here, place, of)
            if count < LEAST_PATIENTS:
                raise SplitError(
                    f"at least {LEAST_PATIENTS} patients with {words} on the {side} side",
                    f"{count} (of {len(here)} patients there, {_count(patients, place, of)} with it in all)",
                    "Add labelled patients, or change the shares or hold_out_sites in the split section of "
                    "params.yaml.",
                )


def content_sha256(rows: Iterable[Mapping[str, str]]) -> str:
    """SHA-256 of who stands on which side, in whatever order and with whatever other columns the rows come."""
    pairs = sorted({(row["patient"], row["split"]) for row in rows})
    return hashlib.sha256(json.dumps(pairs).encode()).hexdigest()


def check(rows: Iterable[Mapping[str, str]]) -> None:
    """See that every patient stands on one side.

    Args:
        rows: anything with `patient` and `split`: data/split.csv, data/prepared/slices.csv, or both together.

    Raises:
        LeakageError: a patient on two sides, or on one that is none of train, val and test.
    """
    sides: dict[str, str] = {}
    for row in rows:
        if row["split"] not in SIDES:
            raise LeakageError(
                "train, val or test for every patient", repr(row["split"]), "Run `dvc repro split` again."
            )
        if sides.setdefault(row["patient"], row["split"]) != row["split"]:
            raise LeakageError(
                "every patient on one side of the split",
                f"patient {row['patient']} on {sides[row['patient']]} and {row['split']}",
                "Run `dvc repro split` and what follows again; do not edit data/split.csv.",
            )
