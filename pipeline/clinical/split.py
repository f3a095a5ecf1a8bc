"""Patients into train, val and test: every patient on one side."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, get_args

import numpy as np

from pipeline.config import Split
from pipeline.errors import LeakageError, SplitError

Side = Literal["train", "val", "test"]
SIDES: tuple[Side, ...] = get_args(Side)
COLUMNS = ("patient", "split", "site", "label")

#: Patients with a positive unit, and patients with a negative one, that each side needs at least: resampling patients
#: says nothing about a class that one patient stands for.
LEAST_PATIENTS = 2

_STREAM = 11  # this module's own stream of the one seed


@dataclass(frozen=True)
class Patient:
    """A labelled patient.

    Attributes:
        patient: pseudonym.
        order: sorted hashes of the patient's series; unlike the pseudonym it is the same under another key.
        sites: where the patient's labelled units come from; empty when the labels name no site.
        positive: some unit is positive.
        negative: some unit is negative; with labels by slice most patients have both.
    """

    patient: str
    order: tuple[str, ...]
    sites: tuple[str, ...]
    positive: bool
    negative: bool

    @property
    def site(self) -> str:
        """The site as it stands in split.csv; several are joined by `+`."""
        return "+".join(self.sites)


def labelled_patients(index: Sequence[Mapping[str, str]], labels: Sequence[Mapping[str, str]]) -> list[Patient]:
    """The patients with a label, in an order that does not depend on their pseudonyms.

    Args:
        index: rows of data/ingested/index.csv.
        labels: rows of data/ingested/labels.csv.

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
    found = [_patient(patient, hashes[patient], rows) for patient, rows in units.items()]
    return sorted(found, key=lambda patient: patient.order)


def _patient(patient: str, hashes: Iterable[str], rows: Sequence[Mapping[str, str]]) -> Patient:
    sites = tuple(sorted({row["site"] for row in rows if row["site"]}))
    values = {row["label"] for row in rows}
    return Patient(patient, tuple(sorted(hashes)), sites, positive="1" in values, negative="0" in values)


def divide(patients: Sequence[Patient], settings: Split, seed: int) -> dict[str, Side]:
    """The side of each patient (by pseudonym), stratified by label and, within a label, by site.

    With `hold_out_sites` the patients of these sites are the test side, whole, and nobody else is; the others are
    divided over train and val in the proportion of their shares.

    Raises:
        SplitError: an unknown site, or a side with too few patients of a class.
    """
    _check_sites(patients, settings.hold_out_sites)
    held_out = set(settings.hold_out_sites)
    sides: dict[str, Side] = {p.patient: "test" for p in patients if held_out & set(p.sites)}
    shares: dict[Side, float] = {"train": settings.train, "val": settings.val, "test": settings.test}
    if held_out:
        shares = {side: shares[side] / max(settings.train + settings.val, 1e-9) for side in ("train", "val")}
    rng = np.random.default_rng([seed, _STREAM])
    for positive in (False, True):
        group = [p for p in patients if p.patient not in sides and p.positive == positive]
        # Shuffled, then by site: neighbours are dealt to different sides, so each site is spread as far as it goes.
        shuffled = sorted((group[i] for i in rng.permutation(len(group))), key=lambda p: p.sites)
        sides |= _deal([p.patient for p in shuffled], shares)
    _check_classes(patients, sides)
    return sides


def _deal(patients: Sequence[str], shares: Mapping[Side, float]) -> dict[str, Side]:
    """Each patient in turn to the side that is furthest below its share."""
    dealt: dict[str, Side] = {}
    count = dict.fromkeys(shares, 0)
    for position, patient in enumerate(patients, start=1):
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


def _check_classes(patients: Sequence[Patient], sides: Mapping[str, Side]) -> None:
    for side in SIDES:
        here = [patient for patient in patients if sides[patient.patient] == side]
        for name, count in (("positive", sum(p.positive for p in here)), ("negative", sum(p.negative for p in here))):
            if count < LEAST_PATIENTS:
                raise SplitError(
                    f"at least {LEAST_PATIENTS} patients with a {name} unit on the {side} side",
                    f"{count} (of {len(here)} patients there, {len(patients)} in all)",
                    "Add labelled patients, or change the shares or hold_out_sites in the split section of "
                    "params.yaml.",
                )


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
