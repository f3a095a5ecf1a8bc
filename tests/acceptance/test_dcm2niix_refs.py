"""What dcm2niix's authors publish is what our reader reads; and a table that says so can say otherwise."""

from __future__ import annotations

import shutil

import nibabel as nib
import numpy as np
import pytest

from tests.acceptance import dcm2niix_refs

pytestmark = pytest.mark.acceptance


def test_every_published_volume_is_the_same(shared, capsys):
    assert dcm2niix_refs.main([str(shared / "data/dicom")]) == 0
    printed = capsys.readouterr().out
    published = len([*(shared / "data/dicom").glob("*/Ref/*.nii"), *(shared / "data/dicom").glob("*/Ref/*.nii.gz")])
    assert f"{published} of {published} the same" in printed
    assert published >= 25


def wrong_voxel(image):
    voxels = np.asarray(image.dataobj).copy()
    voxels[30, 30, 3, 1] += 1
    return nib.Nifti1Image(voxels, image.affine, image.header)


def wrong_place(image):
    affine = image.affine.copy()
    affine[2, 3] += 0.002
    return nib.Nifti1Image(np.asarray(image.dataobj), affine)


def wrong_order(image):
    return nib.Nifti1Image(np.asarray(image.dataobj)[..., ::-1], image.affine)


@pytest.mark.parametrize("change", [wrong_voxel, wrong_place, wrong_order])
def test_a_difference_is_found(shared, tmp_path, change, capsys):
    folder = shared / "data/dicom/dcm_qa_nih"
    shutil.copytree(folder / "In/20180918Si", tmp_path / "set/In/20180918Si")
    (tmp_path / "set/Ref").mkdir()
    shutil.copy(folder / "Ref/EPI_PE=AP_3.json", tmp_path / "set/Ref")
    nib.save(change(nib.load(folder / "Ref/EPI_PE=AP_3.nii")), tmp_path / "set/Ref/EPI_PE=AP_3.nii")
    assert dcm2niix_refs.main([str(tmp_path)]) == 1
    assert "DIFFERS" in capsys.readouterr().out
