"""Series that hold several volumes: each way in which frames at one position are told apart."""

from __future__ import annotations

import numpy as np
import pytest
from pydicom.sequence import Sequence

from pipeline.contract import Selection

SLICES = 6


def several(builder, changes, by_slice=False):
    """A classic series of one volume for each item of `changes`, each with its own pixels; InstanceNumber goes on."""
    made = []
    for number, change in enumerate(changes):
        for index, ds in enumerate(builder.classic(f"volume {number}", SLICES)):
            for keyword, value in change.items():
                setattr(ds, keyword, value)
            ds.InstanceNumber = index * len(changes) + number if by_slice else number * SLICES + index
            made.append(ds)
    for ds in made:
        ds.SeriesInstanceUID, ds.StudyInstanceUID = builder.uid("series"), builder.uid("study")
        ds.FrameOfReferenceUID = builder.uid("frame")
    return made


def pixels(builder, number):
    return builder.values(f"volume {number}", SLICES)


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
    scans, rejected = read(builder.save(several(builder, CONTRASTS[name], by_slice), tmp_path))
    assert rejected == []
    assert [scan.volume_number for scan in scans] == [1, 2]
    for number, scan in enumerate(scans):
        np.testing.assert_array_equal(scan.volume.voxels, pixels(builder, number))
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
    [scan], [rejection] = read(builder.save(several(builder, REPEATS[name], by_slice), tmp_path))
    np.testing.assert_array_equal(scan.volume.voxels, pixels(builder, 0))
    assert (scan.volume_number, rejection.reason, rejection.part) == (1, "repeated_volume", True)


def test_one_picture_with_and_without_correction_is_taken_once(builder, read, tmp_path):
    changes = [{"ImageType": ["ORIGINAL", "PRIMARY", "M", *words]} for words in (("ND",), ("DIS2D", "NORM"))]
    [scan], [rejection] = read(builder.save(several(builder, changes), tmp_path))
    np.testing.assert_array_equal(scan.volume.voxels, pixels(builder, 0))
    assert rejection.reason == "repeated_volume"


def test_attribute_that_changes_from_slice_to_slice_parts_nothing(builder, read, tmp_path):
    series = several(builder, [{}, {}])
    for number, ds in enumerate(series):
        ds.TriggerTime, ds.AcquisitionTime = 100 + number, f"1200{number:02}"
    [scan], _ = read(builder.save(series, tmp_path))
    np.testing.assert_array_equal(scan.volume.voxels, pixels(builder, 0))


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
    [scan], [rejection] = read(builder.save(several(builder, [NOT_MAGNITUDE[name], {}]), tmp_path))
    np.testing.assert_array_equal(scan.volume.voxels, pixels(builder, 1))
    assert (scan.volume_number, rejection.reason, rejection.part) == (1, "not_magnitude", True)


def test_phase_that_ge_tells_in_private_alone(builder, read, tmp_path):
    series = several(builder, [{}, {}])
    for number, ds in enumerate(series):
        ds.private_block(0x0043, "GEMS_PARM_01", create=True).add_new(0x2F, "SS", 1 if number < SLICES else 0)
    [scan], [rejection] = read(builder.save(series, tmp_path))
    np.testing.assert_array_equal(scan.volume.voxels, pixels(builder, 1))
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
    series = several(builder, [{}, {}])
    for number, ds in enumerate(series):
        for other in range(block - 1):
            ds.private_block(group, f"OTHER {other}", create=True)
        ds.private_block(group, creator, create=True).add_new(element, vr, values[number // SLICES])
        ds.InstanceNumber = (number * 5) % 12
    scans, rejected = read(builder.save(series, tmp_path))
    assert rejected == []
    for number, scan in enumerate(scans):
        np.testing.assert_array_equal(scan.volume.voxels, pixels(builder, number))


@pytest.mark.parametrize("value", [b"", b"\xff\xfe", b"\x00" * 7, b"garbage\\1", b"\x00" * 8000])
def test_garbage_in_private_elements_harms_nothing(builder, read, tmp_path, value):
    series = builder.classic(slices=SLICES)
    for ds in series:
        for group, creator, element in ((0x0019, "SIEMENS MR HEADER", 0x0C), (0x0043, "GEMS_PARM_01", 0x39)):
            ds.private_block(group, creator, create=True).add_new(element, "UN", value)
    [_], rejected = read(builder.save(series, tmp_path))
    assert rejected == []


def test_time_series_that_was_broken_off(builder, read, tmp_path):
    [scan], rejections = read(builder.save(several(builder, [{}, {}, {}])[:-2], tmp_path))
    np.testing.assert_array_equal(scan.volume.voxels, pixels(builder, 0))
    assert {rejection.reason for rejection in rejections} == {"repeated_volume"}


def test_slice_missing_in_the_first_time_point_takes_the_second(builder, read, tmp_path):
    series = several(builder, REPEATS["temporal positions"])
    del series[2]
    [scan], rejections = read(builder.save(series, tmp_path))
    np.testing.assert_array_equal(scan.volume.voxels, pixels(builder, 1))
    assert scan.volume_number == 2
    assert {rejection.reason for rejection in rejections} == {"missing_slice", "repeated_volume"}


def test_slice_missing_where_only_the_order_counts_cannot_be_placed(builder, read, tmp_path):
    series = several(builder, [{}, {}, {}])
    del series[2]
    scans, [rejection] = read(builder.save(series, tmp_path))
    assert (scans, rejection.reason, rejection.part) == ([], "multi_volume", False)


def test_derived_map_beside_the_originals(builder, read, tmp_path):
    series = several(builder, [{"ImageType": ["DERIVED", "PRIMARY", "ADC"]}, {}])
    [scan], [rejection] = read(builder.save(series, tmp_path))
    np.testing.assert_array_equal(scan.volume.voxels, pixels(builder, 1))
    assert (rejection.reason, scan.volume_number) == ("derived", None)


def test_selection_picks_the_echo_of_its_contrast(builder, read, tmp_path):
    """Proton density and T2 of one dual-echo series."""
    double = {"ScanningSequence": "SE", "RepetitionTime": 3000, "InversionTime": None}
    series = several(builder, [{**double, "EchoTime": 15}, {**double, "EchoTime": 100}])
    [scan], [rejection] = read(builder.save(series, tmp_path), Selection(contrasts=["T2"], min_slices=2))
    np.testing.assert_array_equal(scan.volume.voxels, pixels(builder, 1))
    assert (scan.contrast, scan.volume_number, rejection.reason) == ("T2", 2, "contrast_not_selected")


def enhanced(builder, volumes, set_group, order=None):
    """An enhanced file of several volumes; `set_group(item, group, volume)` says which one a frame is of."""
    ds = builder.enhanced("multi", SLICES, order=[*range(SLICES)] * volumes)
    for place, group in enumerate(ds.PerFrameFunctionalGroupsSequence):
        group.PixelValueTransformationSequence[0].RescaleSlope = 1
        group.PixelValueTransformationSequence[0].RescaleIntercept = 0
        set_group(group, place // SLICES)
    frames = np.concatenate([pixels(builder, number) for number in range(volumes)])
    order = np.random.default_rng(5).permutation(len(frames)) if order is None else order
    groups = ds.PerFrameFunctionalGroupsSequence
    ds.PerFrameFunctionalGroupsSequence = Sequence([groups[int(place)] for place in order])
    ds.PixelData = frames[order].tobytes()
    return ds


def in_group(builder, sequence, **values):
    return lambda group, volume: setattr(
        group, sequence, Sequence([builder.item(**{name: each[volume] for name, each in values.items()})])
    )


@pytest.mark.parametrize(
    ("sequence", "values", "taken"),
    [
        ("MREchoSequence", {"EffectiveEchoTime": [15.0, 100.0]}, 2),
        ("MRDiffusionSequence", {"DiffusionBValue": [0.0, 1000.0]}, 2),
        ("MRImageFrameTypeSequence", {"FrameType": [["ORIGINAL", "PRIMARY", kind, "NONE"] for kind in "MP"]}, 1),
        ("MRImageFrameTypeSequence", {"ComplexImageComponent": ["MAGNITUDE", "IMAGINARY"]}, 1),
        ("CardiacSynchronizationSequence", {"NominalCardiacTriggerDelayTime": [0.0, 50.0]}, 1),
        ("MRArterialSpinLabelingSequence", {"ASLContext": ["CONTROL", "LABEL"]}, 1),
    ],
)
def test_enhanced_groups_part_volumes_in_any_order_of_frames(builder, read, tmp_path, sequence, values, taken):
    ds = enhanced(builder, 2, in_group(builder, sequence, **values))
    scans, rejections = read(builder.save([ds], tmp_path))
    assert (len(scans), len(rejections)) == (taken, 2 - taken)
    found = {scan.volume.voxels.tobytes() for scan in scans}
    expected = [pixels(builder, number).astype(np.float32).tobytes() for number in range(2)]
    assert found == set(expected) if taken == 2 else found <= set(expected)


def test_enhanced_dimension_that_only_the_vendor_knows(builder, read, tmp_path):
    """DimensionIndexValues part the frames, although nothing else differs (PS3.3 C.7.6.17)."""

    def set_group(group, volume):
        content = group.FrameContentSequence[0]
        content.DimensionIndexValues = [1, content.InStackPositionNumber, volume + 1]

    ds = enhanced(builder, 3, set_group)
    ds.DimensionIndexSequence = Sequence(
        [builder.item(DimensionIndexPointer=pointer) for pointer in (0x00209056, 0x00209057, 0x20051011)]
    )
    [scan], [rejection] = read(builder.save([ds], tmp_path))
    np.testing.assert_array_equal(scan.volume.voxels, pixels(builder, 0))
    assert rejection.reason == "repeated_volume"


def test_one_scan_exported_classic_and_enhanced_is_taken_once(builder, read, tmp_path):
    classic = several(builder, [{}])
    ds = enhanced(builder, 1, lambda group, volume: None)
    ds.SeriesInstanceUID, ds.StudyInstanceUID = builder.uid("series"), builder.uid("study")
    ds.FrameOfReferenceUID, ds.ImageType = builder.uid("frame"), classic[0].ImageType
    [scan], [rejection] = read(builder.save([*classic, ds], tmp_path))
    np.testing.assert_array_equal(scan.volume.voxels, pixels(builder, 0))
    assert (rejection.reason, rejection.part) == ("repeated_volume", True)


def test_volumes_in_workers_and_order_of_files_are_the_same(builder, read, tmp_path):
    series = several(builder, CONTRASTS["echoes"])
    first, _ = read(builder.save(series, tmp_path / "one", salt="x"))
    second, _ = read(builder.save(reversed(series), tmp_path / "two", salt="y"))
    assert [scan.source_sha256 for scan in first] == [scan.source_sha256 for scan in second]
