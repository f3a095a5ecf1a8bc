"""Who takes part in the demo."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pytest

from pipeline.clinical import split
from pipeline.demo.cohort import CLASSIC, DECOYS, census, cohort


@pytest.fixture(scope="module")
def patients(shipped):
    return cohort(shipped.demo, shipped.seed)


def test_half_of_each_sites_patients_have_lesions(patients, shipped) -> None:
    ill = [patient for patient in patients if patient.finding]
    assert len(ill) == round(len(patients) * shipped.demo.lesion_fraction)
    everyone = Counter(patient.scanner.site for patient in patients)
    sick = Counter(patient.scanner.site for patient in ill)
    assert len(everyone) == 3
    assert all(abs(sick[site] - count / 2) <= 1 for site, count in everyone.items())


def test_lesions_are_graded_over_the_whole_range(patients, shipped) -> None:
    low, high = np.log(shipped.demo.lesion_volume_ml)
    share = sorted((np.log(patient.finding.volume_ml) - low) / (high - low) for patient in patients if patient.finding)
    assert np.allclose(share, (np.arange(len(share)) + 0.5) / len(share))
    contrast = [patient.finding.contrast for patient in patients if patient.finding]
    assert min(contrast) >= shipped.demo.lesion_contrast[0]
    assert max(contrast) <= shipped.demo.lesion_contrast[1]


def test_test_side_has_enough_positive_patients_to_judge_by(patients, shipped) -> None:
    flair = [
        split.Patient(
            patient=patient.patient_id,
            order=(patient.patient_id,),
            sites=(patient.scanner.site,),
            present=frozenset({0} if patient.finding else ()),
            absent=frozenset(() if patient.finding else {0}),
        )
        for patient in patients
        if "FLAIR" in patient.contrasts
    ]
    sides = split.divide(flair, shipped.split, shipped.seed)
    assert shipped.ingest.contrasts == ["FLAIR"]
    assert len(sides) >= 120
    assert sum(patient.positive and sides[patient.patient] == "test" for patient in flair) >= 24


def test_site_and_vendor_go_together(patients) -> None:
    pairs = Counter((patient.scanner.site, patient.scanner.manufacturer) for patient in patients)
    sites = {site for site, _ in pairs}
    for site in sites:
        counts = sorted(count for (where, _), count in pairs.items() if where == site)
        assert counts[-1] > 0.5 * sum(counts)
        assert len(counts) == 2
    assert {patient.scanner.field_strength_t for patient in patients} == {1.5, 3.0}


def test_the_files_are_at_most_five_hundred(patients, shipped) -> None:
    files = sum(len(patient.contrasts) for patient in patients)
    files += CLASSIC * (shipped.demo.slices - 1) + 2 * 9 + (shipped.demo.slices - 1) + 1 + 9
    assert files <= 500
    assert sum(patient.classic for patient in patients) == CLASSIC
    assert sorted(patient.decoy for patient in patients if patient.decoy) == sorted(DECOYS)


def test_every_patient_has_flair_and_a_quarter_each_other_contrast(patients) -> None:
    assert all(patient.contrasts[0] == "FLAIR" for patient in patients)
    extra = Counter(contrast for patient in patients for contrast in patient.contrasts[1:])
    assert extra == {"T1": round(len(patients) / 4), "T2": round(len(patients) / 4)}


def test_the_seed_decides(shipped) -> None:
    def described(seed: int) -> list[str]:
        return [repr(patient) for patient in cohort(shipped.demo, seed)]

    assert described(1) == described(1)
    assert described(1) != described(2)


def test_the_census_counts(patients) -> None:
    assert census(patients).startswith(f"{len(patients)} patients, {len(patients) // 2} with lesions")
