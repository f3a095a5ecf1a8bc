"""Enhanced files that hold several volumes: each functional group that tells their frames apart."""

from __future__ import annotations

import numpy as np
import pytest
from pydicom.sequence import Sequence

SLICES = 6  # of each volume that the builder makes


def enhanced(builder, volumes, set_group, order=None):
    """An enhanced file of several volumes; `set_group(item, group, volume)` says which one a frame is of."""
    ds = builder.enhanced("multi", SLICES, order=[*range(SLICES)] * volumes)
    for place, group in enumerate(ds.PerFrameFunctionalGroupsSequence):
        group.PixelValueTransformationSequence[0].RescaleSlope = 1
        group.PixelValueTransformationSequence[0].RescaleIntercept = 0
        set_group(group, place // SLICES)
    frames = np.concatenate([builder.pixels(number) for number in range(volumes)])
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
    expected = [builder.pixels(number).astype(np.float32).tobytes() for number in range(2)]
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
    np.testing.assert_array_equal(scan.volume.voxels, builder.pixels(0))
    assert rejection.reason == "repeated_volume"


def test_one_scan_exported_classic_and_enhanced_is_taken_once(builder, read, tmp_path):
    classic = builder.several([{}])
    ds = enhanced(builder, 1, lambda group, volume: None)
    ds.SeriesInstanceUID, ds.StudyInstanceUID = builder.uid("series"), builder.uid("study")
    ds.FrameOfReferenceUID, ds.ImageType = builder.uid("frame"), classic[0].ImageType
    [scan], [rejection] = read(builder.save([*classic, ds], tmp_path))
    np.testing.assert_array_equal(scan.volume.voxels, builder.pixels(0))
    assert (rejection.reason, rejection.part) == ("repeated_volume", True)
