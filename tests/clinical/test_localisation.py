import math

import numpy as np
import pytest

from pipeline.clinical import localisation
from pipeline.clinical.localisation import Lesions, figures, read
from pipeline.contract import Transform
from pipeline.errors import DataError
from pipeline.files import write_atomic
from pipeline.imaging.nifti import packed
from pipeline.imaging.volume import Volume

TRANSFORM = Transform(size=32, window_percentiles=(0.5, 99.5), head_margin_mm=6.0)


def lesions(masks, patients, head=1.0):
    masks = np.asarray(masks, dtype=bool)
    chance = masks.reshape(len(masks), -1).mean(axis=1) / head
    return Lesions(np.arange(len(masks)), list(patients), masks, chance)


def test_a_hit_is_a_peak_inside_the_mask():
    masks, heats = np.zeros((4, 4, 4), bool), np.zeros((4, 4, 4), np.float32)
    masks[:, 1:3, 1:3] = True
    heats[0, 1, 1] = heats[1, 2, 2] = heats[2, 0, 0] = 1  # two hits, a miss; the last points at nothing
    found = figures(heats, lesions(masks, "abcd"), 500, 0.95, 1)
    assert found["pointing_game"]["value"] == 0.5
    assert found["chance"]["value"] == 0.25
    assert found["gain"]["value"] == 0.25
    assert (found["slices"], found["patients"]) == (4, 4)


def test_a_map_of_zeros_misses_even_a_lesion_in_the_corner():
    mask = np.zeros((1, 4, 4), bool)
    mask[0, 0, 0] = True
    assert figures(np.zeros((1, 4, 4), np.float32), lesions(mask, "a"), 100, 0.95, 1)["pointing_game"]["value"] == 0


def test_random_points_hit_as_often_as_chance_says():
    rng = np.random.default_rng(0)
    masks = np.zeros((4000, 16, 16), bool)
    for mask, (y, x, side) in zip(masks, rng.integers((0, 0, 2), (9, 9, 8), (4000, 3)), strict=True):
        mask[y : y + side, x : x + side] = True
    heats = rng.random((4000, 16, 16)).astype(np.float32)
    found = figures(heats, lesions(masks, [str(i // 8) for i in range(4000)]), 500, 0.95, 1)
    assert found["pointing_game"]["value"] == pytest.approx(found["chance"]["value"], abs=0.015)
    assert found["gain"]["low"] < 0 < found["gain"]["high"]


def test_slices_of_one_patient_are_no_independent_trials():
    masks, heats = np.zeros((60, 4, 4), bool), np.zeros((60, 4, 4), np.float32)
    masks[:, 0, 0] = True
    heats[:30, 0, 0], heats[30:, 3, 3] = 1, 1
    apart = figures(heats, lesions(masks, map(str, range(60))), 2000, 0.95, 1)["pointing_game"]
    together = figures(heats, lesions(masks, [str(i // 10) for i in range(60)]), 2000, 0.95, 1)["pointing_game"]
    assert together["high"] - together["low"] > 2 * (apart["high"] - apart["low"])
    alone = figures(heats, lesions(masks, "a" * 60), 2000, 0.95, 1)["pointing_game"]
    assert alone["value"] == 0.5
    assert math.isnan(alone["low"])
    assert alone["reason"] == "all slices are of one patient"


@pytest.fixture
def project(tmp_path, monkeypatch):
    """Two volumes of a round head, one with a mask on slices 1 and 2, and their slices."""
    monkeypatch.chdir(tmp_path)
    y, x = np.mgrid[-1:1:48j, -1:1:48j]
    voxels = np.repeat(((np.hypot(x, y) < 0.8) * (300 + 100 * x))[None], 4, axis=0).astype(np.float32)
    drawn = np.zeros_like(voxels)
    drawn[1:3, 20:28, 30:38] = 1
    for path, content in (("S-1.nii.gz", voxels), ("S-2.nii.gz", voxels), ("masks/S-1.nii.gz", drawn)):
        data = packed(Volume(content, np.diag([1.0, 1.0, 5.0, 1.0])))
        write_atomic(tmp_path / path, lambda handle, data=data: handle.write(data) and None)
    rows = [{"series": f"S-{s}", "patient": f"P-{s}", "slice_index": str(k)} for k in (3, 2, 1, 0) for s in (2, 1)]
    return tmp_path, rows, {f"S-{s}": str(tmp_path / f"S-{s}.nii.gz") for s in (1, 2)}


def test_masks_meet_the_slices_they_are_drawn_on(project):
    folder, rows, paths = project
    found = read(folder / "masks", rows, paths, TRANSFORM)
    assert [rows[place]["slice_index"] for place in found.places] == ["2", "1"]
    assert found.patients == ["P-1", "P-1"]
    centre = np.argwhere(found.masks[0]).mean(axis=0)
    assert centre[0] == pytest.approx(15.5, abs=1)
    assert centre[1] > 20
    head = math.pi * (0.8 * 24) ** 2
    assert found.chance == pytest.approx([64 / head] * 2, rel=0.25)  # of coarse pixels


def test_no_folder_gives_no_lesions(project):
    folder, rows, paths = project
    assert len(read(folder / "none", rows, paths, TRANSFORM).places) == 0


def test_a_mask_that_is_none_names_its_pseudonym(project):
    folder, rows, paths = project
    (folder / "masks/S-2.nii.gz").write_bytes(b"no mask")
    with pytest.raises(DataError, match="mask of series S-2"):
        read(folder / "masks", rows, paths, TRANSFORM)


def test_of_very_many_slices_some_are_taken_evenly(project, monkeypatch):
    monkeypatch.setattr(localisation, "MOST_SLICES", 1)
    folder, rows, paths = project
    assert len(read(folder / "masks", rows, paths, TRANSFORM).places) == 1
