from __future__ import annotations

import gzip

import nibabel as nib
import numpy as np
import pytest

from pipeline.errors import DataError
from pipeline.imaging import nifti
from pipeline.imaging.volume import Volume

AFFINE_LPS = np.array([[0.8, 0.1, 0, -70], [-0.1, 0.8, 0, 30], [0, 0, 3, 12], [0, 0, 0, 1]])


def volume(dtype=np.int16, shape=(3, 4, 5)) -> Volume:
    rng = np.random.default_rng(3)
    values = rng.integers(-500, 3000, shape) if dtype == np.int16 else rng.normal(size=shape)
    return Volume(values.astype(np.float32), AFFINE_LPS)


@pytest.mark.parametrize("dtype", [np.int16, np.float32])
def test_what_is_packed_is_loaded(tmp_path, dtype):
    made = volume(dtype)
    (tmp_path / "v.nii.gz").write_bytes(nifti.packed(made))
    found = nifti.load(tmp_path / "v.nii.gz")
    np.testing.assert_array_equal(found.voxels, made.voxels)
    np.testing.assert_allclose(found.affine_lps, AFFINE_LPS, atol=1e-5)
    assert found.voxels.dtype == np.float32
    assert found.voxels.flags.c_contiguous
    assert nib.load(tmp_path / "v.nii.gz").get_data_dtype() == dtype


@pytest.mark.parametrize(
    ("value", "dtype"), [(32767, np.int16), (32768, np.float32), (-32769, np.float32), (0.5, np.float32)]
)
def test_whole_numbers_that_fit_are_stored_as_such(tmp_path, value, dtype):
    made = volume()
    made.voxels[1, 2, 3] = value
    (tmp_path / "v.nii.gz").write_bytes(nifti.packed(made))
    assert nib.load(tmp_path / "v.nii.gz").get_data_dtype() == dtype
    np.testing.assert_array_equal(nifti.load(tmp_path / "v.nii.gz").voxels, made.voxels)


def test_others_find_each_voxel_at_its_place(tmp_path):
    """NIfTI is (column, row, slice) and RAS."""
    made = volume()
    (tmp_path / "v.nii.gz").write_bytes(nifti.packed(made))
    image = nib.load(tmp_path / "v.nii.gz")
    assert image.shape == (5, 4, 3)
    assert image.get_fdata()[4, 2, 1] == made.voxels[1, 2, 4]
    np.testing.assert_allclose(image.affine @ [4, 2, 1, 1], (AFFINE_LPS @ [4, 2, 1, 1]) * [-1, -1, 1, 1], atol=1e-5)
    assert (int(image.header["sform_code"]), int(image.header["qform_code"])) == (1, 1)
    assert image.header.get_xyzt_units()[0] == "mm"


def test_equal_volumes_give_equal_bytes():
    content = nifti.packed(volume())
    assert content == nifti.packed(volume())
    # No time, and no file name: flags 0 at byte 3, mtime 0 at 4 to 7.
    assert content[3:8] == bytes(5)


@pytest.mark.parametrize("damage", ["truncated", "no gzip", "missing", "empty"])
def test_damaged_file(tmp_path, damage):
    path = tmp_path / "v.nii.gz"
    if damage != "missing":
        path.write_bytes(nifti.packed(volume()))
        content = {"truncated": path.read_bytes()[:-20], "no gzip": b"plain", "empty": b""}[damage]
        path.write_bytes(content)
    with pytest.raises(DataError, match=r"a NIfTI volume in .*v.nii.gz; found \w+. Run the stage `ingest` again"):
        nifti.load(path)


def test_four_dimensions_are_refused(tmp_path):
    (tmp_path / "v.nii.gz").write_bytes(
        gzip.compress(nib.Nifti1Image(np.zeros((2, 2, 2, 2), np.int16), np.eye(4)).to_bytes())
    )
    with pytest.raises(DataError, match="three dimensions in .*; found 4"):
        nifti.load(tmp_path / "v.nii.gz")
