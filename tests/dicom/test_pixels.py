from __future__ import annotations

import subprocess
from contextlib import nullcontext

import nibabel as nib
import numpy as np
import pytest
from pydicom import dcmread
from pydicom.sequence import Sequence
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


@pytest.mark.parametrize("signed", [0, 1])
def test_inverted_grey_is_turned(builder, read, tmp_path, signed):
    """MONOCHROME1: the least value is white; after reading, the greatest is."""
    expected = builder.values("a", 10).astype(int)
    series = builder.classic(PhotometricInterpretation="MONOCHROME1", PixelRepresentation=signed)
    for ds, plane in zip(series, expected, strict=True):
        ds.RescaleSlope, ds.RescaleIntercept = 2, -7
        ds.PixelData = plane.astype(np.uint16).tobytes()
    [scan], rejected = read(builder.save(series, tmp_path))
    stored = expected - 4096 * (expected >= 2048) if signed else expected
    turned = -1 - stored if signed else 4095 - stored
    assert rejected == []
    np.testing.assert_array_equal(scan.volume.voxels, turned * 2 - 7)


def philips(series, slopes, scales):
    for ds, slope, scale in zip(series, slopes, scales, strict=True):
        ds.RescaleSlope, ds.RescaleIntercept = slope, 0
        ds.private_block(0x2005, "Philips MR Imaging DD 001", create=True).add_new(0x0E, "FL", scale)
    return series


def test_displayed_values_are_taken_where_philips_gives_both(builder, read, tmp_path):
    """RescaleSlope counts; one private ScaleSlope for all, or its inverse in each slice, changes nothing."""
    slopes = 1 + 0.5 * np.arange(10)
    for name, scales in {"one": [0.01] * 10, "inverse": 0.02 / slopes}.items():
        used = [2.0] * 10 if name == "one" else slopes.tolist()
        series = philips(builder.classic(), used, scales)
        [scan], _ = read(builder.save(series, tmp_path / name))
        expected = builder.values("a", 10) * np.array(used)[:, None, None]
        np.testing.assert_allclose(scan.volume.voxels, expected, rtol=1e-6)


def test_slices_that_philips_scaled_each_by_itself_are_evened(builder, read, tmp_path):
    """The precise values, stored / ScaleSlope, on the display scale of the first slice."""
    scales = 0.01 * (1 + np.arange(10))
    series = philips(builder.classic(), [1.0] * 10, scales)
    [scan], _ = read(builder.save(series, tmp_path))
    expected = builder.values("a", 10) / scales[:, None, None] * scales[0]
    np.testing.assert_allclose(scan.volume.voxels, expected, rtol=1e-6)


def test_slices_that_an_enhanced_philips_file_scaled_each_by_itself_are_evened(builder, read, tmp_path):
    ds = builder.enhanced(slices=6, order=range(6))
    for index, group in enumerate(ds.PerFrameFunctionalGroupsSequence):
        group.PixelValueTransformationSequence[0].RescaleSlope = 2
        group.PixelValueTransformationSequence[0].RescaleIntercept = 0
        twin = builder.item(EchoTime=1)
        twin.private_block(0x2005, "Philips MR Imaging DD 001", create=True).add_new(0x0E, "FL", 0.5 + index)
        block = group.private_block(0x2005, "Philips MR Imaging DD 005", create=True)
        block.add_new(0x0F, "SQ", Sequence([twin]))
    [scan], _ = read(builder.save([ds], tmp_path))
    factors = 2 * 0.5 / (0.5 + np.arange(6))
    np.testing.assert_allclose(scan.volume.voxels, builder.values("e", 6) * factors[:, None, None], rtol=1e-6)


#: Options of dcmtk's compressors; all of them lose nothing.
CODECS = {
    "JPEG-Lossless": ("dcmcjpeg", "+e1"),
    "JPEG-Lossless, another predictor": ("dcmcjpeg", "+el", "+sv", "6"),
    "JPEG-LS": ("dcmcjpls", "+el"),
    "RLE": ("dcmcrle",),
    "deflated": ("dcmconv", "+td"),
    "big endian": ("dcmconv", "+tb"),
    "implicit": ("dcmconv", "+ti"),
    "no meta group": ("dcmconv", "-F"),
}


@pytest.mark.acceptance
@pytest.mark.parametrize(("bits", "signed"), [(12, 0), (16, 0), (16, 1)])
@pytest.mark.parametrize("codec", CODECS)
def test_what_another_program_encodes_is_the_same(builder, read, program, tmp_path, codec, bits, signed):
    command, *options = CODECS[codec]
    expected = builder.values("a", 3).astype(int) * (1 if bits == 12 else 16) - (32760 if signed else 0)
    series = builder.classic(slices=3, BitsStored=bits, HighBit=bits - 1, PixelRepresentation=signed)
    (tmp_path / "out").mkdir()
    for ds, plane in zip(series, expected, strict=True):
        ds.PixelData = plane.astype(np.int16 if signed else np.uint16).tobytes()
    for path in builder.save(series, tmp_path / "in").iterdir():
        subprocess.run([program(command), *options, path, tmp_path / "out" / path.name], check=True)
    [scan], rejected = read(tmp_path / "out")
    assert rejected == []
    np.testing.assert_array_equal(scan.volume.voxels, expected)


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
