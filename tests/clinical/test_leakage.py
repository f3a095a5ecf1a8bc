import numpy as np
import pytest

from pipeline.clinical import leakage, likeness
from pipeline.errors import DataError, LeakageError
from tests.heads import head, rescaled

SIDES = ["train"] * 6 + ["val"] * 3 + ["test"] * 5


def table(patients, sides):
    return [{"patient": patient, "split": side} for patient, side in zip(patients, sides, strict=True)]


@pytest.fixture
def heads():
    return np.stack([head(seed) for seed in range(len(SIDES))])


@pytest.fixture
def rows():
    return table([f"P-{i}" for i in range(len(SIDES))], SIDES)


def test_different_patients_are_no_finding(heads, rows):
    found = leakage.find(heads, rows)
    assert (found.patients, found.slices, found.plain, found.near, found.findings) == (14, 14, 0, 0, [])
    assert found.figures()["exact"] == 0


CHANGES = {
    "left to right": lambda p: p[:, ::-1],
    "upside down": lambda p: p[::-1],
    "turned by 180 degrees": lambda p: p[::-1, ::-1],
    "smaller": lambda p: rescaled(p, 0.75),
    "smaller and moved": lambda p: rescaled(p, 0.85, (4, -5)),
    "larger": lambda p: rescaled(p, 1.15),
    "mirrored and smaller": lambda p: rescaled(p, 0.85)[:, ::-1],
    "less contrast": lambda p: (0.7 * p + 12).astype(np.uint8),
    "noise": lambda p: np.clip(p + np.random.default_rng(0).normal(0, 6, p.shape), 0, 255).astype(np.uint8),
    "one pixel": lambda p: np.where(np.arange(p.size).reshape(p.shape) == 5, 90, p).astype(np.uint8),
}


@pytest.mark.parametrize("change", CHANGES)
@pytest.mark.parametrize(("source", "place"), [(0, 9), (7, 2), (7, 12)])
def test_the_same_slice_under_another_patient_is_found_however_it_was_changed(heads, rows, change, source, place):
    heads[place] = CHANGES[change](heads[source])
    found = leakage.find(heads, rows)
    assert found.near == 1
    (finding,) = found.findings
    assert set(finding.patients) == {f"P-{source}", f"P-{place}"}
    assert set(finding.sides) == {SIDES[source], SIDES[place]}
    assert finding.likeness >= leakage.ALIKE


def test_a_repetition_on_one_side_is_no_leak(heads, rows):
    heads[1] = heads[0][:, ::-1]
    heads[3] = heads[2]
    assert leakage.find(heads, rows).near == 0


def test_equal_pixels_on_two_sides_are_an_error_that_names_both(heads, rows):
    heads[10] = heads[3]
    with pytest.raises(
        LeakageError, match=r"1 slices with equal pixels under the patients P-3 \(train\) and P-10 \(test"
    ):
        leakage.find(heads, rows)


def test_faint_slices_count_only_if_they_are_equal(heads, rows):
    heads[0] = heads[0] // 12
    heads[11] = heads[0][::-1]
    found = leakage.find(heads, rows)
    assert (found.plain, found.near) == (2, 0)
    heads[11] = heads[0]
    with pytest.raises(LeakageError, match="P-0"):
        leakage.find(heads, rows)


def test_empty_slices_are_alike_and_say_nothing(heads, rows):
    heads[[0, 8, 12]] = 0
    assert leakage.find(heads, rows).near == 0


def test_most_slices_first(heads):
    pictures = np.concatenate([heads, heads[:3, :, ::-1]])
    rows = table([f"P-{i}" for i in range(14)] + ["P-x", "P-y", "P-y"], [*SIDES, "test", "test", "test"])
    for row, patient in zip(rows[:3], ("P-0", "P-1", "P-1"), strict=True):
        row["patient"] = patient
    found = leakage.find(pictures, rows)
    assert [finding.slices for finding in found.findings] == [2, 1]
    assert found.figures()["findings"][0]["patients"] == ("P-1", "P-y")


@pytest.mark.parametrize("count", [0, 1])
def test_next_to_nothing(heads, rows, count):
    assert leakage.find(heads[:count], rows[:count]).near == 0


def test_slices_of_another_run_are_refused(heads, rows):
    with pytest.raises(DataError, match=r"14 slices.*13 in slices\.npy"):
        leakage.find(heads[:-1], rows)


def test_of_two_slices_the_likeness_is_one_where_they_are_one(heads):
    frames = likeness.frames(heads)
    same = likeness.likeness(heads, frames, heads, frames, leakage.ALIKE)
    np.testing.assert_allclose(same, 1, atol=1e-3)
    other = np.roll(np.arange(len(heads)), 1)
    assert likeness.likeness(heads, frames, heads[other], frames.at(other), leakage.ALIKE).max() < 0.8


def test_frames_follow_the_head(heads):
    moved = np.stack([rescaled(picture, 0.8, (3, -4)) for picture in heads])
    before, after = likeness.frames(heads), likeness.frames(moved)
    np.testing.assert_allclose(after.spread / before.spread, 0.8, atol=0.03)
    np.testing.assert_allclose(after.row - 31.5, 0.8 * (before.row - 31.5) + 3, atol=0.7)
    np.testing.assert_allclose(after.column - 31.5, 0.8 * (before.column - 31.5) - 4, atol=0.7)
