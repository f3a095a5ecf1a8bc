"""One patient's images: what the lesion and the scanner do to them."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from pipeline.demo import simulate
from pipeline.demo.cohort import Finding, Patient, cohort


@pytest.fixture(scope="module")
def patient(shipped) -> Patient:
    """A patient of the demo without a lesion, on few and coarse slices."""
    small = shipped.demo.model_copy(update={"patients": 12, "slices": 10, "matrix": 72})
    return next(one for one in cohort(small, shipped.seed) if one.finding is None)


def flair(patient: Patient, seed: int = 5) -> np.ndarray:
    """Stored values over their mean, so that the scanner's gain does not matter."""
    only = replace(patient, contrasts=("FLAIR",))
    stored = next(iter(simulate.images(only, np.random.default_rng(seed)))).stored
    return stored / stored.mean()


def test_each_contrast_is_made_on_the_patients_grid(patient: Patient) -> None:
    made = list(simulate.images(replace(patient, contrasts=("FLAIR", "T1", "T2")), np.random.default_rng(0)))
    assert [one.sequence.contrast for one in made] == ["FLAIR", "T1", "T2"]
    for one in made:
        assert one.stored.shape == patient.grid.shape
        assert one.stored.dtype == np.uint16
        assert 200 < one.stored.max() <= simulate.STORED_MAX


def test_a_lesion_is_brighter_the_higher_its_contrast(patient: Patient) -> None:
    def brightness(contrast: float) -> float:
        ill = replace(patient, finding=Finding(volume_ml=40.0, contrast=contrast), snr=1e4, shading=0.0)
        shares = simulate.head(ill, ill.grid, np.random.default_rng(5))
        picture, lesion, white = flair(ill), shares["lesion"] > 0.9, shares["wm"] > 0.9
        return float(picture[lesion].mean() / picture[white].mean())

    levels = [brightness(contrast) for contrast in (0.0, 0.5, 1.0)]
    assert levels[0] == pytest.approx(1, abs=0.05)
    assert levels[0] < levels[1] - 0.1 < levels[2] - 0.2


def test_without_signal_the_noise_has_a_rayleigh_distribution(patient: Patient) -> None:
    air = flair(replace(patient, snr=2.0))[:, :4].ravel()
    assert air.mean() / air.std() == pytest.approx(np.sqrt(np.pi / (4 - np.pi)), rel=0.08)


def test_a_better_scanner_has_less_noise(patient: Patient) -> None:
    noisy, clean = (flair(replace(patient, snr=snr))[:, :4].mean() for snr in (5.0, 50.0))
    assert clean < 0.3 * noisy


def test_shading_changes_brightness_slowly_over_the_head(patient: Patient) -> None:
    flat, shaded = (flair(replace(patient, snr=1e4, shading=shading)) for shading in (0.0, 0.3))
    inside = flat > 0.5
    ratio = shaded[inside] / flat[inside]
    assert ratio.std() > 0.1
    assert np.median(ratio) == pytest.approx(1, abs=0.4)
