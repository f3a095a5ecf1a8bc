"""Two releases on the same patients: the lower end of the difference, also where nothing moves it."""

from __future__ import annotations

from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from scipy.stats import norm

from pipeline.clinical import comparison
from pipeline.clinical.comparison import SAME_RANKS, UNPAIRED, Answered, ask, compared
from pipeline.clinical.said import Said
from pipeline.clinical.units import Units
from pipeline.contract import Transform
from pipeline.imaging import nifti
from pipeline.imaging.volume import Volume
from pipeline.inference.answers import Answers
from pipeline.targets import BINARY

LABELS = np.arange(60) % 2
RNG = np.random.default_rng(1)


def _answered(*logits: npt.NDArray[np.float64]) -> Answered:
    ids = [f"u{place}" for place in range(len(LABELS))]
    units = Units(ids, [f"p{place}" for place in range(len(LABELS))], LABELS[:, None], np.arange(len(ids)), ids)
    return Answered(units, [Said(norm.cdf(each)[:, None], each[:, None]) for each in logits])


def test_difference_is_paired() -> None:
    """What both models have in common does not widen the interval."""
    shared = 1.5 * LABELS + RNG.normal(size=60)
    one, other = (shared + 0.1 * RNG.normal(size=60) for _ in range(2))
    found = compared(_answered(one, other), BINARY, 0.95)
    assert found.difference.value == pytest.approx(found.first.value - found.second.value)
    assert found.difference.high - found.difference.low < 0.3 * (found.first.high - found.first.low)


def test_equal_ranks_are_equal() -> None:
    logits = 1.5 * LABELS + RNG.normal(size=60)
    found = compared(_answered(logits, 3 * logits - 7), BINARY, 0.95).difference
    assert (found.value, found.low, found.high, found.method) == (0.0, 0.0, 0.0, SAME_RANKS)


def test_two_perfect_models_are_as_uncertain_as_the_patients_are_few() -> None:
    one, other = (10.0 * LABELS + RNG.normal(size=60) for _ in range(2))
    found = compared(_answered(one, other), BINARY, 0.95)
    assert (found.difference.value, found.difference.method) == (0.0, UNPAIRED)
    assert found.difference.low == pytest.approx(found.first.low - 1)
    assert -0.2 < found.difference.low < 0


def test_no_patient_gives_no_bound() -> None:
    nobody = Units([], [], np.zeros((0, 1), np.int64), np.zeros(0, np.int64), [])
    nothing = Said(np.zeros((0, 1)), np.zeros((0, 1)))
    found = compared(Answered(nobody, [nothing, nothing]), BINARY, 0.95).difference
    assert np.isnan(found.low)
    assert found.reason == "only one class among the units"


@dataclass
class _Brightness:
    """A backend whose logit is the mean of a unit's pixels."""

    def run(self, slices: npt.NDArray[np.uint8], membership: npt.NDArray[np.float32]) -> Answers:
        means = slices.mean(axis=(1, 2), dtype=np.float32)
        logits = (membership @ means / membership.sum(axis=1))[:, None].astype(np.float32)
        return Answers(logits / 255, logits, means[:, None], means[:, None])


def _release(size: int) -> Any:
    transform = Transform(size=size, window_percentiles=(0.5, 99.5), head_margin_mm=6.0)
    manifest = SimpleNamespace(
        task=SimpleNamespace(label_level="study"), transform=transform, calibration=SimpleNamespace(neighbours_sd=0.0)
    )
    return SimpleNamespace(manifest=manifest, targets=BINARY, backend=_Brightness())


def test_each_release_sees_every_volume_of_a_unit_as_its_contract_says_and_no_taught_patient(tmp_path: Path) -> None:
    index, labels, lent = [], [], []
    for number, (patient, study) in enumerate([("p2", "t2"), ("p1", "t1"), ("p1", "t1"), ("p3", "t3")]):
        path = f"s{number}.nii.gz"
        voxels = np.zeros((4, 40, 36), np.float32)
        voxels[:, 8:32, 8:28] = np.random.default_rng(number).integers(300, 900, (4, 24, 20))
        (tmp_path / path).write_bytes(nifti.packed(Volume(voxels, np.diag([4.0, 4.0, 6.0, 1.0]))))
        index.append({"series": f"s{number}", "patient": patient, "study": study, "path": path, "n_slices": "4"})
        labels.append(
            {"series": f"s{number}", "patient": patient, "slice_index": "", "label": str(int(patient == "p1"))}
        )

    @contextmanager
    def fetch(path: Path) -> Any:
        lent.append(path.name)
        yield tmp_path / path

    found = ask([_release(32), _release(64)], index, labels, frozenset({"p3"}), fetch)
    assert (found.units.ids, found.units.patients) == (["t1", "t2"], ["p1", "p2"])
    assert found.units.labels[:, 0].tolist() == [1, 0]
    assert lent == ["s1.nii.gz", "s2.nii.gz", "s0.nii.gz"]
    assert [said.logits.shape for said in found.said] == [(2, 1), (2, 1)]
    small, large = (said.logits[:, 0] for said in found.said)
    np.testing.assert_allclose(small, large, atol=1.5)  # the same pictures, resampled otherwise
    assert not np.array_equal(small, large)
    assert comparison.ask([_release(32)], index, labels, frozenset({"p1", "p2", "p3"}), fetch).units.ids == []
