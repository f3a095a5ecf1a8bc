"""Series that hold several volumes: each way in which frames at one position are told apart."""

from __future__ import annotations

import subprocess

import numpy as np
import pytest

from pipeline.contract import Selection
from tests.acceptance import dcm2niix_refs

SLICES = 6  # of each volume that the builder makes


CONTRASTS = {
    "echoes": [{"EchoTime": 30}, {"EchoTime": 90}],
    "echoes by number": [{"EchoTime": None, "EchoNumbers": 1}, {"EchoTime": None, "EchoNumbers": 2}],
    "inversions": [{"InversionTime": 700}, {"InversionTime": 2500}],
    "flip angles": [{"FlipAngle": 4}, {"FlipAngle": 19}],
    "water and fat": [{"ImageType": ["ORIGINAL", "PRIMARY", "M", kind]} for kind in ("FAT", "WATER")],
    "b-values": [{"DiffusionBValue": 0.0}, {"DiffusionBValue": 1000.0}],
}


@pytest.mark.parametrize("by_slice", [False, True], ids=["by volume", "by slice"])
@pytest.mark.parametrize("name", CONTRASTS)
def test_volumes_of_different_contrast_are_all_taken(builder, read, tmp_path, name, by_slice):
    scans, rejected = read(builder.save(builder.several(CONTRASTS[name], by_slice), tmp_path))
    assert rejected == []
    assert [scan.volume_number for scan in scans] == [1, 2]
    for number, scan in enumerate(scans):
        np.testing.assert_array_equal(scan.volume.voxels, builder.pixels(number))
    assert len({key for scan in scans for key in scan.slice_keys}) == 2 * SLICES


REPEATS = {
    "temporal positions": [{"TemporalPositionIdentifier": number} for number in (1, 2, 3)],
    "acquisitions": [{"AcquisitionNumber": number} for number in (1, 2, 3)],
    "times": [{"AcquisitionTime": f"1200{number}0"} for number in (1, 2, 3)],
    "cardiac phases": [{"TriggerTime": time} for time in (0, 40, 80)],
    "directions": [
        {"DiffusionBValue": 1000.0, "DiffusionGradientOrientation": row} for row in np.eye(3).astype(float).tolist()
    ],
    "nothing but the order": [{}, {}, {}],
}


@pytest.mark.parametrize("by_slice", [False, True], ids=["by volume", "by slice"])
@pytest.mark.parametrize("name", REPEATS)
def test_of_volumes_that_repeat_a_contrast_the_first_is_taken(builder, read, tmp_path, name, by_slice):
    [scan], [rejection] = read(builder.save(builder.several(REPEATS[name], by_slice), tmp_path))
    np.testing.assert_array_equal(scan.volume.voxels, builder.pixels(0))
    assert (scan.volume_number, rejection.reason, rejection.part) == (1, "repeated_volume", True)


def test_one_picture_with_and_without_correction_is_taken_once(builder, read, tmp_path):
    changes = [{"ImageType": ["ORIGINAL", "PRIMARY", "M", *words]} for words in (("ND",), ("DIS2D", "NORM"))]
    [scan], [rejection] = read(builder.save(builder.several(changes), tmp_path))
    np.testing.assert_array_equal(scan.volume.voxels, builder.pixels(0))
    assert rejection.reason == "repeated_volume"


@pytest.mark.acceptance
@pytest.mark.parametrize("by_slice", [False, True], ids=["by volume", "by slice"])
@pytest.mark.parametrize("maker", ["GE MEDICAL SYSTEMS", "Philips"])
@pytest.mark.parametrize("name", ["echoes", "temporal positions", "nothing but the order"])
def test_volumes_are_those_of_dcm2niix(builder, program, tmp_path, capsys, name, maker, by_slice):
    series = builder.several({**CONTRASTS, **REPEATS}[name], by_slice)
    for ds in series:
        ds.Manufacturer, ds.SeriesNumber, ds.StudyTime, ds.SliceThickness = maker, 7, "120000", 3
        ds.AcquisitionTime, ds.EchoNumbers, ds.InstanceNumber = "120001", ds.EchoTime // 60 + 1, ds.InstanceNumber + 1
    builder.save(series, tmp_path / "set/In")
    (tmp_path / "set/Ref").mkdir()
    command = [program("dcm2niix"), "-z", "n", "-f", "x", "-o", tmp_path / "set/Ref", tmp_path / "set/In"]
    subprocess.run(command, check=True, capture_output=True)
    assert dcm2niix_refs.main([str(tmp_path)]) == 0
    said = capsys.readouterr().out
    assert f"{2 if name == 'echoes' else 1} of" in said


def test_stacks_beside_one_another_are_both_taken(builder, read, tmp_path):
    """As of two breasts: the same heights, other places."""
    series = builder.several([{}, {}])
    for ds in series[SLICES:]:
        ds.ImagePositionPatient = [ds.ImagePositionPatient[0] + 90, *ds.ImagePositionPatient[1:]]
    scans, rejected = read(builder.save(series, tmp_path))
    assert rejected == []
    for number, scan in enumerate(scans):
        np.testing.assert_array_equal(scan.volume.voxels, builder.pixels(number))
        assert scan.volume.affine_lps[0, 3] == builder.FIRST_MM[0] + 90 * number


def test_attribute_that_changes_from_slice_to_slice_parts_nothing(builder, read, tmp_path):
    series = builder.several([{}, {}])
    for number, ds in enumerate(series):
        ds.TriggerTime, ds.AcquisitionTime = 100 + number, f"1200{number:02}"
    [scan], _ = read(builder.save(series, tmp_path))
    np.testing.assert_array_equal(scan.volume.voxels, builder.pixels(0))


def test_times_that_differ_within_a_single_volume_leave_it_whole(builder, read, tmp_path):
    series = builder.classic(slices=10)
    for number, ds in enumerate(series):
        ds.TriggerTime, ds.AcquisitionNumber, ds.EchoTime = 100 * number, number % 2, 90 + number % 2
    [scan], rejected = read(builder.save(series, tmp_path))
    assert (scan.volume.voxels.shape[0], scan.volume_number, rejected) == (10, None, [])


NOT_MAGNITUDE = {
    "phase": {"ImageType": ["ORIGINAL", "PRIMARY", "P", "ND"]},
    "real": {"ComplexImageComponent": "REAL"},
    "imaginary": {"ImageType": ["ORIGINAL", "PRIMARY", "I"]},
    "field map": {"ImageType": ["ORIGINAL", "PRIMARY", "B0 MAP", "B0"]},
}


@pytest.mark.parametrize("name", NOT_MAGNITUDE)
def test_magnitude_is_taken_and_the_rest_has_its_reason(builder, read, tmp_path, name):
    """The phase comes first in the files: it is still no first volume."""
    [scan], [rejection] = read(builder.save(builder.several([NOT_MAGNITUDE[name], {}]), tmp_path))
    np.testing.assert_array_equal(scan.volume.voxels, builder.pixels(1))
    assert (scan.volume_number, rejection.reason, rejection.part) == (1, "not_magnitude", True)


def test_phase_that_ge_tells_in_private_alone(builder, read, tmp_path):
    series = builder.several([{}, {}])
    for number, ds in enumerate(series):
        ds.private_block(0x0043, "GEMS_PARM_01", create=True).add_new(0x2F, "SS", 1 if number < SLICES else 0)
    [scan], [rejection] = read(builder.save(series, tmp_path))
    np.testing.assert_array_equal(scan.volume.voxels, builder.pixels(1))
    assert rejection.reason == "not_magnitude"


PRIVATE_B_VALUES = {
    "Siemens": (0x0019, "SIEMENS MR HEADER", 0x0C, "IS", [0, 1000]),
    "GE": (0x0043, "GEMS_PARM_01", 0x39, "IS", [[0, 8, 0, 0], [1000001000, 8, 0, 0]]),
    "Philips": (0x2001, "Philips Imaging DD 001", 0x03, "FL", [0.0, 1000.0]),
    "bytes of unknown kind": (0x0019, "SIEMENS MR HEADER", 0x0C, "UN", [b"0 ", b"1000"]),
}


@pytest.mark.parametrize("block", [1, 3])
@pytest.mark.parametrize("name", PRIVATE_B_VALUES)
def test_b_values_of_vendors(builder, read, tmp_path, name, block):
    """Wherever the creator's block stands, and also when the orders of slice and volume are mixed."""
    group, creator, element, vr, values = PRIVATE_B_VALUES[name]
    series = builder.several([{}, {}])
    for number, ds in enumerate(series):
        for other in range(block - 1):
            ds.private_block(group, f"OTHER {other}", create=True)
        ds.private_block(group, creator, create=True).add_new(element, vr, values[number // SLICES])
        ds.InstanceNumber = (number * 5) % 12
    scans, rejected = read(builder.save(series, tmp_path))
    assert rejected == []
    for number, scan in enumerate(scans):
        np.testing.assert_array_equal(scan.volume.voxels, builder.pixels(number))


@pytest.mark.parametrize("value", [b"", b"\xff\xfe", b"\x00" * 7, b"garbage\\1", b"\x00" * 8000])
def test_garbage_in_private_elements_harms_nothing(builder, read, tmp_path, value):
    series = builder.classic(slices=SLICES)
    for ds in series:
        for group, creator, element in ((0x0019, "SIEMENS MR HEADER", 0x0C), (0x0043, "GEMS_PARM_01", 0x39)):
            ds.private_block(group, creator, create=True).add_new(element, "UN", value)
    [_], rejected = read(builder.save(series, tmp_path))
    assert rejected == []


def test_time_series_that_was_broken_off(builder, read, tmp_path):
    [scan], rejections = read(builder.save(builder.several([{}, {}, {}])[:-2], tmp_path))
    np.testing.assert_array_equal(scan.volume.voxels, builder.pixels(0))
    assert {rejection.reason for rejection in rejections} == {"repeated_volume"}


@pytest.mark.parametrize("keyword", ["AcquisitionNumber", "AcquisitionTime"])
def test_time_series_without_numbers_that_was_broken_off(builder, read, tmp_path, keyword):
    """The last is 10, which stands before 9 in the order of letters."""
    times = [str(number) if keyword == "AcquisitionNumber" else f"{number:06}" for number in (8, 9, 10)]
    series = builder.several([{keyword: time} for time in times])[:-2]
    for ds in series:
        ds.InstanceNumber = None
    [scan], rejections = read(builder.save(series, tmp_path))
    np.testing.assert_array_equal(scan.volume.voxels, builder.pixels(0))
    assert {rejection.reason for rejection in rejections} == {"repeated_volume"}


def test_slice_missing_in_the_first_time_point_takes_the_second(builder, read, tmp_path):
    series = builder.several(REPEATS["temporal positions"])
    del series[2]
    [scan], rejections = read(builder.save(series, tmp_path))
    np.testing.assert_array_equal(scan.volume.voxels, builder.pixels(1))
    assert scan.volume_number == 2
    assert {rejection.reason for rejection in rejections} == {"missing_slice", "repeated_volume"}


def test_slice_missing_where_only_the_order_counts_cannot_be_placed(builder, read, tmp_path):
    series = builder.several([{}, {}, {}])
    del series[2]
    scans, [rejection] = read(builder.save(series, tmp_path))
    assert (scans, rejection.reason, rejection.part) == ([], "multi_volume", False)


def test_derived_map_beside_the_originals(builder, read, tmp_path):
    series = builder.several([{"ImageType": ["DERIVED", "PRIMARY", "ADC"]}, {}])
    [scan], [rejection] = read(builder.save(series, tmp_path))
    np.testing.assert_array_equal(scan.volume.voxels, builder.pixels(1))
    assert (rejection.reason, scan.volume_number) == ("derived", None)


def test_selection_picks_the_echo_of_its_contrast(builder, read, tmp_path):
    """Proton density and T2 of one dual-echo series."""
    double = {"ScanningSequence": "SE", "RepetitionTime": 3000, "InversionTime": None}
    series = builder.several([{**double, "EchoTime": 15}, {**double, "EchoTime": 100}])
    [scan], [rejection] = read(builder.save(series, tmp_path), Selection(contrasts=["T2"], min_slices=2))
    np.testing.assert_array_equal(scan.volume.voxels, builder.pixels(1))
    assert (scan.contrast, scan.volume_number, rejection.reason) == ("T2", 2, "contrast_not_selected")


def test_volumes_in_workers_and_order_of_files_are_the_same(builder, read, tmp_path):
    series = builder.several(CONTRASTS["echoes"])
    first, _ = read(builder.save(series, tmp_path / "one", salt="x"))
    second, _ = read(builder.save(reversed(series), tmp_path / "two", salt="y"))
    assert [scan.source_sha256 for scan in first] == [scan.source_sha256 for scan in second]
