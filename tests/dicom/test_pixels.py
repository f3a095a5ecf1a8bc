from __future__ import annotations

from contextlib import nullcontext

import nibabel as nib
import numpy as np
import pytest
from pydicom import dcmread
from pydicom.uid import JPEG2000Lossless, RLELossless

from pipeline.dicom import pixels


def test_signed_values(builder, read, tmp_path):
    expected = builder.values("a", 10).astype(np.int16) - 2048
    series = builder.classic(PixelRepresentation=1)
    for ds, plane in zip(series, expected, strict=True):
        ds.PixelData = (plane & 0xFFF).astype(np.uint16).tobytes()
    [scan], _ = read(builder.save(series, tmp_path))
    np.testing.assert_array_equal(scan.volume.voxels, expected)


@pytest.mark.parametrize("signed", [0, 1])
def test_bits_beside_the_stored_ones_are_dropped(builder, read, tmp_path, signed):
    """Overlays above and dirt below: BitsStored 10 from HighBit 12."""
    expected = builder.values("a", 10) % 1024
    series = builder.classic(PixelRepresentation=signed, BitsStored=10, HighBit=12)
    for ds, plane in zip(series, expected, strict=True):
        ds.PixelData = ((plane << 3) | 0b1010_0000_0000_0101).astype(np.uint16).tobytes()
    [scan], _ = read(builder.save(series, tmp_path))
    wanted = expected.astype(int) - 1024 * (expected >= 512) if signed else expected
    np.testing.assert_array_equal(scan.volume.voxels, wanted)


def test_rescale_of_each_slice(builder, read, tmp_path):
    series = builder.classic()
    for index, ds in enumerate(series):
        ds.RescaleSlope, ds.RescaleIntercept = 0.5 + index, -100 * index
    [scan], _ = read(builder.save(series, tmp_path))
    index = np.arange(10)[:, None, None]
    np.testing.assert_allclose(scan.volume.voxels, builder.values("a", 10) * (0.5 + index) - 100 * index)


def test_eight_bits(builder, read, tmp_path):
    series = builder.classic(BitsAllocated=8, BitsStored=8, HighBit=7)
    for ds, plane in zip(series, builder.values("a", 10), strict=True):
        ds.PixelData = plane.astype(np.uint8).tobytes()
    [scan], _ = read(builder.save(series, tmp_path))
    np.testing.assert_array_equal(scan.volume.voxels, builder.values("a", 10) % 256)


@pytest.mark.parametrize("syntax", [RLELossless, JPEG2000Lossless], ids=["RLE", "JPEG 2000"])
def test_compressed_is_the_same(builder, read, tmp_path, syntax):
    series = builder.classic()
    for ds in series:
        ds.compress(syntax, generate_instance_uid=False)
    multi = builder.enhanced()
    multi.compress(syntax, generate_instance_uid=False)
    scans, rejected = read(builder.save([*series, multi], tmp_path))
    assert rejected == []
    by_series = {scan.series_uid: scan.volume.voxels for scan in scans}
    np.testing.assert_array_equal(by_series[builder.uid("a", "series")], builder.values("a", 10))
    index = np.arange(10)[:, None, None]
    expected = builder.values("e", 10) * (1.0 + index) - index
    np.testing.assert_array_equal(by_series[builder.uid("e", "series")], expected)


def test_truncated_compressed_pixels_are_refused(builder, read, tmp_path):
    series = builder.classic()
    for ds in series:
        ds.compress(RLELossless, generate_instance_uid=False)
    builder.save(series, tmp_path)
    path = sorted(tmp_path.iterdir())[0]
    path.write_bytes(path.read_bytes()[:-120])
    assert [rejection.reason for rejection in read(tmp_path)[1]] == ["unreadable_pixels"]


def test_unknown_transfer_syntax_is_refused(builder, read, tmp_path):
    builder.save(builder.classic(), tmp_path)
    for path in tmp_path.iterdir():
        path.write_bytes(path.read_bytes().replace(b"1.2.840.10008.1.2.1\0", b"1.2.840.10008.1.2.9\0", 1))
    assert [rejection.reason for rejection in read(tmp_path)[1]] == ["unreadable_pixels"]


@pytest.mark.parametrize(
    ("name", "number"), [("12bitUnsigned", 2), ("12bitUnsigned_0x0F0F", 3), ("12bitSigned_0x0F0F", 4)]
)
def test_dirty_high_bits_of_a_scanner(shared, name, number):
    """The values are those that dcm2niix's authors publish, although the bits above the twelve hold an overlay."""
    folder = shared / "data/dicom/dcm_qa_12bit"
    dataset = dcmread(folder / f"In/{name}.dcm")
    found = pixels.stored_values(pixels.decoded(dataset), dataset)
    expected = np.asarray(nib.load(folder / f"Ref/{number}.nii").dataobj).ravel()
    np.testing.assert_array_equal(np.sort(found[found != 0]), np.sort(expected[expected != 0]))


@pytest.mark.parametrize("name", ["MR_small_RLE", "MR_small_jp2klossless", "MR_small_implicit", "MR_small_padded"])
def test_encodings_of_one_picture(shared, name):
    folder = shared / "data/dicom/pydicom/src/pydicom/data/test_files"
    plain, other = dcmread(folder / "MR_small.dcm"), dcmread(folder / f"{name}.dcm")
    expected = pixels.stored_values(pixels.decoded(plain), plain)
    with pytest.warns(UserWarning, match="excess padding") if name == "MR_small_padded" else nullcontext():
        found = pixels.stored_values(pixels.decoded(other), other)
    np.testing.assert_array_equal(found, expected)
    assert expected.std() > 10
