from __future__ import annotations

import dataclasses
import errno
import os
import time
from pathlib import Path

import numpy as np
import pytest
from pydicom import dcmread
from pydicom.uid import ImplicitVRLittleEndian

from pipeline.contract import Selection
from pipeline.dicom import catalogue, plain_pixels
from pipeline.dicom import load as load_module
from pipeline.dicom.load import load
from pipeline.dicom.scan import Scan
from pipeline.errors import DicomError


def test_slices_are_sorted_by_position_not_by_instance_number_or_name(builder, read, tmp_path):
    series = builder.classic(slices=11)
    [scan], rejected = read(builder.save(reversed(series), tmp_path))
    assert rejected == []
    np.testing.assert_array_equal(scan.volume.voxels, builder.values("a", 11))
    assert scan.slice_keys == [(ds.SOPInstanceUID, None) for ds in series]
    assert scan.volume.voxels.dtype == np.float32


def test_affine_leads_from_column_row_slice_to_the_patient(builder, read, tmp_path):
    [scan], _ = read(builder.save(builder.classic(orientation=builder.OBLIQUE), tmp_path))
    row, column = np.array(builder.OBLIQUE[:3]), np.array(builder.OBLIQUE[3:])
    for c, r, s in [(0, 0, 0), (5, 0, 0), (0, 7, 0), (3, 2, 9)]:
        expected = builder.position(s, builder.OBLIQUE) + row * 0.8 * c + column * 0.9 * r
        np.testing.assert_allclose((scan.volume.affine_lps @ [c, r, s, 1])[:3], expected, atol=1e-5)
    np.testing.assert_allclose(scan.volume.spacing_mm, (3.0, 0.9, 0.8), atol=1e-6)


@pytest.mark.parametrize("plane", ["AXIAL", "CORONAL", "SAGITTAL", "OBLIQUE"])
def test_slices_rise_along_the_normal(builder, read, tmp_path, plane):
    orientation = getattr(builder, plane)
    [scan], _ = read(builder.save(builder.classic(orientation=orientation, step_mm=-4.0), tmp_path))
    assert np.linalg.det(scan.volume.affine_lps) > 0
    np.testing.assert_array_equal(scan.volume.voxels, builder.values("a", 10)[::-1])


def test_enhanced_frames_are_sorted_and_rescaled_each_by_its_own_values(builder, read, tmp_path):
    ds = builder.enhanced(slices=9, order=[3, 1, 4, 0, 5, 8, 2, 6, 7])
    [scan], _ = read(builder.save([ds], tmp_path))
    slices = np.arange(9)[:, None, None]
    np.testing.assert_array_equal(scan.volume.voxels, builder.values("e", 9) * (1.0 + slices) - slices)
    assert scan.slice_keys == [(ds.SOPInstanceUID, frame) for frame in (4, 2, 7, 1, 3, 5, 8, 9, 6)]
    np.testing.assert_allclose(scan.volume.affine_lps[:3, 3], builder.FIRST_MM)


def test_enhanced_volume_over_several_files_is_one_scan(builder, read, tmp_path):
    parts = [builder.enhanced(slices=10, order=order) for order in ([0, 2, 4, 6, 8], [9, 7, 5, 3, 1])]
    for number, part in enumerate(parts):
        part.SOPInstanceUID = builder.uid("part", number)
    [scan], _ = read(builder.save(parts, tmp_path))
    assert scan.volume.voxels.shape == (10, builder.ROWS, builder.COLUMNS)
    assert scan.slice_keys[:3] == [
        (builder.uid("part", 0), 1),
        (builder.uid("part", 1), 5),
        (builder.uid("part", 0), 2),
    ]


def test_what_is_known_of_a_scan(builder, read, tmp_path):
    [scan], _ = read(builder.save(builder.classic(), tmp_path))
    assert (scan.manufacturer, scan.field_strength_t, scan.contrast) == ("Siemens", 3.0, "FLAIR")
    assert (scan.sex, scan.age_years) == ("F", 74)
    assert (scan.patient_id, scan.series_uid) == (builder.IDENTIFIERS[1], builder.uid("a", "series"))


def test_repr_shows_nobody(builder, read, tmp_path):
    builder.save(builder.classic(), tmp_path)
    builder.save(builder.classic("b", ImageType=["DERIVED", "PRIMARY"]), tmp_path)
    [scan], [rejection] = read(tmp_path)
    shown = repr(scan) + repr(rejection)
    assert "Siemens" in shown
    assert "derived" in shown
    for secret in (*builder.IDENTIFIERS, scan.series_uid, scan.study_uid, scan.slice_keys[0][0], rejection.source):
        assert secret not in shown


def test_source_hash_depends_on_contents_not_on_names(builder, read, tmp_path):
    series = builder.classic()
    [first], _ = read(builder.save(series, tmp_path / "one", salt="x"))
    [second], _ = read(builder.save(reversed(series), tmp_path / "two", salt="y"))
    assert first.source_sha256 == second.source_sha256
    np.testing.assert_array_equal(first.volume.affine_lps, second.volume.affine_lps)
    series[4].PixelData = bytes(len(series[4].PixelData))
    [changed], _ = read(builder.save(series, tmp_path / "three"))
    assert changed.source_sha256 != first.source_sha256


def test_source_hash_is_that_of_the_image_wherever_it_stands_in_the_file(builder, read, tmp_path):
    def sha256(name, **changes):
        [scan], _ = read(builder.save(builder.classic(**changes), tmp_path / name))
        return scan.source_sha256

    first = sha256("first")
    assert sha256("patient", patient="MRN-9", SeriesInstanceUID="2.25.9", PatientName="ROE") == first
    assert sha256("rounded", PixelSpacing=[0.90000001, 0.8]) == first
    assert sha256("spacing", PixelSpacing=[0.901, 0.8]) != first
    assert sha256("rescaled", RescaleSlope=2, RescaleIntercept=0) != first


def test_file_without_preamble_and_meta_is_read(builder, read, tmp_path):
    for number, ds in enumerate(builder.classic()):
        del ds.file_meta
        ds.save_as(tmp_path / str(number), implicit_vr=True, little_endian=True)
    assert (tmp_path / "0").read_bytes()[:2] == b"\x08\x00"
    [scan], rejected = read(tmp_path)
    assert rejected == []
    np.testing.assert_array_equal(scan.volume.voxels, builder.values("a", 10))


def test_implicit_vr_is_read(builder, read, tmp_path):
    series = builder.classic()
    for ds in series:
        ds.file_meta.TransferSyntaxUID = ImplicitVRLittleEndian
    [scan], _ = read(builder.save(series, tmp_path))
    np.testing.assert_array_equal(scan.volume.voxels, builder.values("a", 10))


def test_links_that_lead_in_a_circle_are_followed_once(builder, read, tmp_path):
    builder.save(builder.classic(), tmp_path / "deep" / "deeper")
    (tmp_path / "deep" / "deeper" / "up").symlink_to(tmp_path)
    (tmp_path / "again").symlink_to(tmp_path / "deep")
    [scan], rejected = read(tmp_path)
    assert len(scan.slice_keys) == 10
    assert rejected == []


def test_a_link_to_nothing_is_named_and_stops_nothing(builder, read, tmp_path):
    builder.save(builder.classic(), tmp_path)
    (tmp_path / "lost").symlink_to(tmp_path / "nowhere")
    [_], [rejection] = read(tmp_path)
    assert (rejection.source, rejection.reason) == ("lost", "unreadable_file")


def test_a_name_of_no_alphabet_can_be_written(builder, read, tmp_path):
    builder.save(builder.classic(), tmp_path)
    (tmp_path / os.fsdecode(b"\xff\xfe J\xe4ne")).write_text("no DICOM")
    [_], [rejection] = read(tmp_path)
    assert rejection.source.encode() == rb"\xff\xfe J\xe4ne"


def test_a_folder_that_may_not_be_listed_is_named(builder, read, tmp_path, monkeypatch):
    builder.save(builder.classic(), tmp_path / "open")
    (tmp_path / "shut").mkdir()
    real = os.scandir

    def scandir(path):
        if Path(path).name == "shut":
            raise PermissionError(errno.EACCES, "Permission denied", str(path))
        return real(path)

    monkeypatch.setattr(os, "scandir", scandir)
    [_], [rejection] = read(tmp_path)
    assert (rejection.source, rejection.reason) == ("shut", "unreadable_file")


def test_workers_change_nothing(builder, tmp_path, monkeypatch):
    monkeypatch.setattr("pipeline.dicom.load.HERE_S", 0)
    for number in range(6):
        builder.save(builder.classic(f"s{number}", 8), tmp_path / "c")
        builder.save([builder.enhanced(f"e{number}", 8)], tmp_path / "e")
    (tmp_path / "notes.txt").write_text("no DICOM")
    alone, many = list(load(tmp_path, workers=1)), list(load(tmp_path, workers=2))
    assert [type(item) for item in alone] == [type(item) for item in many]
    assert len(alone) == 13
    for one, two in zip(alone, many, strict=True):
        if isinstance(one, Scan):
            np.testing.assert_array_equal(one.volume.voxels, two.volume.voxels)
            one, two = (dataclasses.replace(scan, volume=None) for scan in (one, two))
        assert one == two


def test_headers_of_few_files_are_read_once_and_tell_what_those_of_many_do(builder, tmp_path, monkeypatch):
    builder.save(builder.classic("a", 8), tmp_path)
    builder.save(builder.classic("b", 8, ImageType=["DERIVED", "PRIMARY"]), tmp_path)
    builder.save([builder.enhanced("e", 8)], tmp_path)
    builder.save(builder.classic("c", 1, SeriesInstanceUID=""), tmp_path)
    (tmp_path / "notes.txt").write_text("no DICOM")
    counts, found = [], []
    real = catalogue.read_headers
    monkeypatch.setattr(catalogue, "read_headers", lambda paths: counts.append(len(paths)) or real(paths))
    for chunks in (load_module.KEPT_CHUNKS, 0):
        monkeypatch.setattr(load_module, "KEPT_CHUNKS", chunks)
        counts.clear()
        found.append(list(load(tmp_path, workers=1)))
        assert sum(counts) == (19 if chunks else 19 + 17), "two files belong to no series"
    few, many = ([item for item in items if not isinstance(item, Scan)] for items in found)
    assert few == many
    scans = [[item for item in items if isinstance(item, Scan)] for items in found]
    assert [scan.source_sha256 for scan in scans[0]] == [scan.source_sha256 for scan in scans[1]]
    assert [dataclasses.replace(scan, volume=None) for scan in scans[0]] == [
        dataclasses.replace(scan, volume=None) for scan in scans[1]
    ]
    assert (len(scans[0]), len(few)) == (2, 3)


def test_pixels_are_read_only_of_what_is_selected(builder, tmp_path, monkeypatch):
    builder.save(builder.classic("flair"), tmp_path)
    builder.save(builder.classic("t1", contrast="T1"), tmp_path)
    opened, real = [], plain_pixels.Reader.read
    monkeypatch.setattr(
        plain_pixels.Reader, "read", lambda self, path, place: opened.append(path) or real(self, path, place)
    )
    scans = [item for item in load(tmp_path, Selection(contrasts=["FLAIR"], min_slices=8)) if isinstance(item, Scan)]
    assert [scan.contrast for scan in scans] == ["FLAIR"]
    assert {dcmread(path).SeriesInstanceUID for path in opened} == {builder.uid("flair", "series")}


def test_no_such_folder(tmp_path):
    with pytest.raises(DicomError, match=r"expected a folder of DICOM at .*nowhere; found no such folder"):
        list(load(tmp_path / "nowhere"))


def test_empty_folder(tmp_path):
    with pytest.raises(DicomError, match="at least one MR series that can be used in .*; found none in 0 files"):
        list(load(tmp_path))


def test_no_series_that_can_be_used_says_how_many_files_and_why(builder, tmp_path):
    (tmp_path / "notes.txt").write_text("no DICOM")
    builder.save(builder.classic(slices=3, ImageType=["ORIGINAL", "PRIMARY", "LOCALIZER"]), tmp_path)
    builder.save(builder.classic("d", slices=3, ImageType=["DERIVED", "SECONDARY"]), tmp_path)
    with pytest.raises(
        DicomError, match=r"none in 7 files \(1 derived: ImageType says.*; 1 localizer: .*; 1 not_dicom"
    ) as caught:
        list(load(tmp_path))
    assert not any(secret in str(caught.value) for secret in builder.IDENTIFIERS)


def test_speed_of_enhanced_series(builder, tmp_path):
    for number in range(40):
        builder.save([builder.enhanced(f"e{number}", 20)], tmp_path)
    begin = time.process_time()
    assert len(list(load(tmp_path, workers=1))) == 40
    assert time.process_time() - begin < 4
