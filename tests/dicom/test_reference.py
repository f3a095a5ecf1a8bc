"""Scanners' own files: the same voxels at the same places as dcm2niix, and what must be refused is."""

from __future__ import annotations

import csv
import gzip
import shutil
import subprocess
import sys
from collections import Counter
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
from PIL import Image

from pipeline.dicom.scan import Scan
from pipeline.imaging import nifti

#: One volume each: folder below data/dicom, which files of it, slices, contrast.
VOLUMES = {
    "GE classic, one time point": ("dcm_qa_nih/In/20180918GE/mr_0004", "*-000??.dcm", 15, "?"),
    "Siemens enhanced, one time point": ("dcm_qa_enh/In/Siemens/XA10", "6_2.dcm", 6, "?"),
    "Philips classic sagittal": ("dcm_qa_philips_enh/In/cl", "1301_*.dcm.gz", 170, "T1"),
    "Philips classic, first echo": ("dcm_qa_philips_enh/In/cl", "2001_????.dcm.gz", 53, "?"),
    "Philips classic, second echo": ("dcm_qa_philips_enh/In/cl", "2001_????_e2.dcm.gz", 53, "?"),
}


def copy(source: Path, pattern: str, target: Path, most: int = 1) -> Path:
    """The first files under names that tell nothing, unpacked."""
    target.mkdir()
    for number, path in enumerate(sorted(sorted(source.glob(pattern))[:most], key=lambda path: path.name[::-1])):
        packed = path.suffix == ".gz"
        (target / f"{number:04}").write_bytes(gzip.decompress(path.read_bytes()) if packed else path.read_bytes())
    return target


def assert_same(scan: Scan, reference: nib.Nifti1Image, tmp_path: Path) -> None:
    """Equal in space: after both are turned to the nearest axes, affine to 1e-3 and voxels."""
    (tmp_path / "ours.nii.gz").write_bytes(nifti.packed(scan.volume))
    ours, theirs = (nib.as_closest_canonical(image) for image in (nib.load(tmp_path / "ours.nii.gz"), reference))
    np.testing.assert_allclose(ours.affine, theirs.affine, atol=1e-3)
    np.testing.assert_allclose(ours.get_fdata(), theirs.get_fdata(), rtol=1e-5, atol=1e-3)
    assert ours.get_fdata().std() > 1


@pytest.mark.acceptance
@pytest.mark.parametrize("name", VOLUMES)
def test_volume_is_that_of_dcm2niix(shared, program, read, tmp_path, name):
    dcm2niix = program("dcm2niix")
    folder, pattern, slices, contrast = VOLUMES[name]
    files = copy(shared / "data/dicom" / folder, pattern, tmp_path / "in", slices)
    [scan], rejections = read(files)
    assert rejections == []
    assert (scan.volume.voxels.shape[0], scan.contrast) == (slices, contrast)
    subprocess.run([dcm2niix, "-z", "n", "-p", "n", "-b", "n", "-f", "x", "-o", tmp_path, files], check=True)
    [reference] = tmp_path.glob("x*.nii")
    assert_same(scan, nib.load(reference), tmp_path)


@pytest.mark.acceptance
@pytest.mark.parametrize("sign", [1, -1])
@pytest.mark.parametrize("plane", ["AXIAL", "CORONAL", "SAGITTAL", "OBLIQUE"])
def test_mosaic_of_any_plane_is_that_of_dcm2niix(builder, program, read, tmp_path, plane, sign):
    ds = builder.mosaic(orientation=getattr(builder, plane), sign=sign)
    ds.SeriesNumber, ds.StudyTime, ds.SliceThickness, ds.SoftwareVersions = 3, "120000", 3, "syngo MR B17"
    ds.AcquisitionMatrix = [builder.COLUMNS, 0, 0, builder.ROWS]
    [scan], _ = read(builder.save([ds], tmp_path / "in"))
    command = [program("dcm2niix"), "-z", "n", "-b", "n", "-f", "x", "-o", tmp_path, tmp_path / "in"]
    subprocess.run(command, check=True, capture_output=True)
    [reference] = tmp_path.glob("x*.nii")
    assert_same(scan, nib.load(reference), tmp_path)


def test_first_time_point_is_that_of_the_published_volume(shared, read, tmp_path):
    files = copy(shared / "data/dicom/dcm_qa_enh/In/Siemens/XA10", "6_1.dcm", tmp_path / "in")
    [scan], _ = read(files)
    series = nib.load(shared / "data/dicom/dcm_qa_enh/Ref/Siemens_REST1_w_SMS_PF7-8_6.nii")
    assert_same(scan, series.slicer[..., 0], tmp_path)


#: Whole folders: shapes of the volumes that are taken; what else is there, and why it is refused.
FOLDERS = {
    "dcm_qa/In": ([(35, 64, 64)] * 3 + [(36, 64, 64)] * 4 + [(36, 86, 86)] * 2, {"repeated_volume": 9, "not_dicom": 1}),
    "dcm_qa_12bit/In": ([], {"duplicate_instance": 1}),
    "dcm_qa_enh/In": ([(6, 64, 64), (32, 64, 64)], {"repeated_volume": 1, "not_magnitude": 1}),
    # The scan 2001 is there in classic and in enhanced files.
    "dcm_qa_philips_enh/In": (
        [(53, 80, 80), (53, 80, 80), (170, 256, 256)],
        {"not_an_image": 1, "repeated_volume": 1, "not_magnitude": 1},
    ),
    "dcm_qa_nih/In": ([(5, 72, 72), (15, 64, 64)], {"repeated_volume": 2, "not_dicom": 2}),
    "pydicom-data/data_store": ([], {"derived": 1, "no_identity": 1}),
    # One picture in eight encodings; a CT; a plan; a reformat; a file without its first bytes.
    "pydicom/src": ([], {"duplicate_instance": 1, "not_mr": 1, "not_an_image": 1, "derived": 1, "not_dicom": 1}),
}


@pytest.mark.parametrize("folder", FOLDERS)
def test_what_a_folder_holds(shared, read, folder):
    scans, rejections = read(shared / "data/dicom" / folder)
    shapes, reasons = FOLDERS[folder]
    assert sorted(scan.volume.voxels.shape for scan in scans) == shapes
    assert Counter(rejection.reason for rejection in rejections) == reasons


def test_truncated_file_of_a_scanner(shared, read, tmp_path):
    source = shared / "data/dicom/pydicom/src/pydicom/data/test_files"
    shutil.copy(source / "MR_truncated.dcm", tmp_path)
    assert [rejection.reason for rejection in read(tmp_path)[1]] == ["derived"]


def test_shuffled_slices_of_somebody_elses_data_come_back_in_order(shared, read, tmp_path):
    source = shared / "data/lgg_flair"
    tool = shared / "tools/lgg_to_dicom.py"
    subprocess.run([sys.executable, tool, source, tmp_path / "out", "--patients", "4"], check=True, capture_output=True)
    scans, rejections = read(tmp_path / "out/dicom")
    assert rejections == []
    assert {scan.contrast for scan in scans} == {"FLAIR"}
    assert len(scans) == 4
    pictures: dict[str, list[dict[str, str]]] = {}
    with open(source / "labels.csv", newline="") as handle:
        for row in csv.DictReader(handle):
            pictures.setdefault(row["patient"], []).append(row)
    for scan in scans:
        rows = sorted(pictures[scan.patient_id], key=lambda row: int(row["slice"]))
        expected = [np.asarray(Image.open(source / row["image"]).convert("L"), np.uint16) * 8 for row in rows]
        np.testing.assert_array_equal(scan.volume.voxels, expected)
        np.testing.assert_allclose(scan.volume.spacing_mm, (5.0, 0.86, 0.86))
