"""Siemens mosaics: tiles at their places, whichever way the slices count; and headers that do not tell."""

from __future__ import annotations

import numpy as np
import pytest
from pydicom.sequence import Sequence

from pipeline.dicom.reasons import Rejection


def check(builder, scan, orientation, sign, slices=7):
    """Each slice holds the tile that stands at its place."""
    row, column = np.reshape(orientation, (2, 3))
    expected = builder.values("m", slices)[::sign]
    np.testing.assert_array_equal(scan.volume.voxels, expected)
    for place in range(slices):
        tile = place if sign > 0 else slices - 1 - place
        corner = np.array(builder.FIRST_MM) + sign * np.cross(row, column) * builder.STEP_MM * tile
        np.testing.assert_allclose((scan.volume.affine_lps @ [0, 0, place, 1])[:3], corner, atol=1e-3)
    np.testing.assert_allclose(scan.volume.spacing_mm, (builder.STEP_MM, *builder.SPACING_MM), atol=1e-4)


@pytest.mark.parametrize("new", [True, False], ids=["SV10", "before"])
@pytest.mark.parametrize("sign", [1, -1])
@pytest.mark.parametrize("plane", ["AXIAL", "CORONAL", "SAGITTAL", "OBLIQUE"])
def test_tiles_stand_where_the_normal_leads(builder, read, tmp_path, plane, sign, new):
    orientation = getattr(builder, plane)
    ds = builder.mosaic(orientation=orientation, sign=sign, csa_header=new)
    [scan], rejected = read(builder.save([ds], tmp_path))
    assert rejected == []
    check(builder, scan, orientation, sign)
    tiles = [*range(1, 8)][::sign]
    assert scan.slice_keys == [(ds.SOPInstanceUID, tile) for tile in tiles]


def private(ds, element, vr, value):
    ds.private_block(0x0019, "SIEMENS MR HEADER", create=True).add_new(element, vr, value)


@pytest.mark.parametrize(("element", "vr", "value"), [(0x0A, "US", 7), (0x29, "FD", [float(x) for x in range(7)])])
def test_without_csa_header_the_other_elements_suffice(builder, read, tmp_path, element, vr, value):
    ds = builder.mosaic(csa_header=None)
    private(ds, element, vr, value)
    [scan], _ = read(builder.save([ds], tmp_path))
    check(builder, scan, builder.AXIAL, 1)


def test_without_csa_header_sagittal_slices_could_count_either_way(builder, read, tmp_path):
    ds = builder.mosaic(csa_header=None, orientation=builder.SAGITTAL)
    private(ds, 0x0A, "US", 7)
    assert read(builder.save([ds], tmp_path)) == ([], [Rejection(ds.SeriesInstanceUID, "mosaic")])


def test_mosaics_of_a_time_series(builder, read, tmp_path):
    series = [builder.mosaic() for _ in range(3)]
    for number, ds in enumerate(series):
        ds.SOPInstanceUID, ds.InstanceNumber, ds.AcquisitionNumber = builder.uid(number), number + 1, number + 1
    series[1].PixelData = bytes(len(series[1].PixelData))
    [scan], [rejection] = read(builder.save(reversed(series), tmp_path))
    check(builder, scan, builder.AXIAL, 1)
    assert (rejection.reason, scan.volume_number) == ("repeated_volume", 1)


def grid(builder, slices=7):
    """As United Imaging tiles slices: the position of each stands in a private sequence, in the order of the tiles."""
    ds = builder.mosaic(slices=slices, csa_header=None)
    ds.ImageType, ds.Manufacturer = ["ORIGINAL", "PRIMARY", "M", "VFRAME"], "UIH"
    block = ds.private_block(0x0065, "Image Private Header", create=True)
    block.add_new(0x50, "DS", str(slices))
    places = [builder.item(ImagePositionPatient=builder.position(slices - 1 - tile)) for tile in range(slices)]
    block.add_new(0x51, "SQ", Sequence(places))
    return ds


def test_grid_of_united_imaging(builder, read, tmp_path):
    [scan], rejected = read(builder.save([grid(builder)], tmp_path))
    assert rejected == []
    np.testing.assert_array_equal(scan.volume.voxels, builder.values("m", 7)[::-1])
    np.testing.assert_allclose(scan.volume.affine_lps[:3, 3], builder.FIRST_MM, atol=1e-4)


def test_grid_without_a_position_is_refused(builder, read, tmp_path):
    ds = grid(builder)
    del ds.private_block(0x0065, "Image Private Header")[0x51].value[3].ImagePositionPatient
    assert read(builder.save([ds], tmp_path)) == ([], [Rejection(ds.SeriesInstanceUID, "mosaic")])


def spoil(**changes):
    return lambda ds, builder: [setattr(ds, keyword, value) for keyword, value in changes.items()]


def with_header(elements):
    def fault(ds, builder):
        block = ds.private_block(0x0029, "SIEMENS CSA HEADER")
        block[0x10].value = builder.csa(elements, True)

    return fault


AXIAL = {"SliceNormalVector": ["0", "0", "1"]}
FAULTS = {
    "no distance": spoil(SpacingBetweenSlices=None),
    "distance of zero": spoil(SpacingBetweenSlices=0),
    "no position": lambda ds, builder: delattr(ds, "ImagePositionPatient"),
    "does not divide": with_header({"NumberOfImagesInMosaic": ["80"], **AXIAL}),
    "no tiles": with_header({"NumberOfImagesInMosaic": ["0"], **AXIAL}),
    "millions of tiles": with_header({"NumberOfImagesInMosaic": ["99999999999"], **AXIAL}),
    "negative tiles": with_header({"NumberOfImagesInMosaic": ["-4"], **AXIAL}),
    "normal of another plane": with_header({"NumberOfImagesInMosaic": ["7"], "SliceNormalVector": ["1", "0", "0"]}),
    "normal of text": with_header({"NumberOfImagesInMosaic": ["7"], "SliceNormalVector": ["a", "b", "c"]}),
    "normal of nan": with_header({"NumberOfImagesInMosaic": ["7"], "SliceNormalVector": ["nan"] * 3}),
    "half a normal": with_header({"NumberOfImagesInMosaic": ["7"], "SliceNormalVector": ["0", "1"]}),
}


@pytest.mark.parametrize("name", FAULTS)
def test_mosaic_whose_header_does_not_tell_is_refused(builder, read, tmp_path, name):
    ds = builder.mosaic()
    FAULTS[name](ds, builder)
    assert read(builder.save([ds], tmp_path)) == ([], [Rejection(ds.SeriesInstanceUID, "mosaic")])


def test_tiles_beyond_any_scanner_have_no_geometry(builder, read, tmp_path):
    ds = builder.mosaic()
    ds.SpacingBetweenSlices = 1e300
    assert read(builder.save([ds], tmp_path)) == ([], [Rejection(ds.SeriesInstanceUID, "no_geometry")])


def test_enhanced_file_that_is_called_mosaic_but_is_none(builder, read, tmp_path):
    """As newer Siemens systems write them: untiled, with the word left in the type."""
    ds = builder.enhanced()
    ds.SharedFunctionalGroupsSequence[0].MRImageFrameTypeSequence[0].FrameType = [
        "ORIGINAL", "PRIMARY", "M", "ND", "MOSAIC"
    ]  # fmt: skip
    [scan], rejected = read(builder.save([ds], tmp_path))
    assert (len(scan.volume.voxels), rejected) == (10, [])
