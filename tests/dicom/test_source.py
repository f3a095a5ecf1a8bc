"""Packed files: gzipped ones, zips of folders, DICOMDIR media; and packed files that mean harm."""

from __future__ import annotations

import gzip
import io
import os
import struct
import tempfile
import tracemalloc
import zipfile

import numpy as np
import pytest
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.uid import ExplicitVRLittleEndian, MediaStorageDirectoryStorage

from pipeline.dicom import source
from pipeline.dicom.load import load

DEFLATED = "1.2.840.10008.1.2.1.99"


def zipped(folder, archive, prefix="study of JANE/", method=zipfile.ZIP_DEFLATED):
    with zipfile.ZipFile(archive, "w", method) as packed:
        packed.mkdir("empty")
        for path in sorted(folder.iterdir()):
            packed.write(path, prefix + path.name)
    return archive


def reasons(rejections):
    return [rejection.reason for rejection in rejections]


def test_gzipped_files_under_any_name(builder, read, tmp_path):
    builder.save(builder.classic(), tmp_path)
    for path in list(tmp_path.iterdir()):
        path.write_bytes(gzip.compress(path.read_bytes()))
    [scan], rejected = read(tmp_path)
    assert rejected == []
    np.testing.assert_array_equal(scan.volume.voxels, builder.values("a", 10))


@pytest.mark.parametrize("method", [zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED])
def test_zip_of_a_folder_beside_plain_files(builder, read, tmp_path, method):
    zipped(builder.save(builder.classic(), tmp_path / "src"), tmp_path / "in.zip", method=method)
    for path in (tmp_path / "src").iterdir():
        path.unlink()
    builder.save(builder.classic("plain"), tmp_path / "src")
    scans, rejected = read(tmp_path)
    assert rejected == []
    assert {scan.series_uid for scan in scans} == {builder.uid("a", "series"), builder.uid("plain", "series")}


def test_gzipped_files_in_a_zip_and_one_that_is_no_dicom(builder, read, tmp_path):
    files = builder.save(builder.classic(), tmp_path / "src")
    for path in list(files.iterdir()):
        path.write_bytes(gzip.compress(path.read_bytes()))
    (files / "notes.txt").write_text("no DICOM")
    zipped(files, tmp_path / "in" if (tmp_path / "in").mkdir() else tmp_path / "in/study.zip")
    [scan], [rejection] = read(tmp_path / "in")
    np.testing.assert_array_equal(scan.volume.voxels, builder.values("a", 10))
    assert (rejection.source, rejection.reason) == ("study.zip/study of JANE/notes.txt", "not_dicom")


def test_nothing_is_written_while_archives_are_read(builder, tmp_path, monkeypatch):
    (tmp_path / "in").mkdir()
    zipped(builder.save(builder.classic(), tmp_path / "src"), tmp_path / "in/x.zip")
    before = sorted(tmp_path.rglob("*"))
    (tmp_path / "in/x.zip").chmod(0o400)
    for folder in (tmp_path, tmp_path / "in"):
        monkeypatch.setattr(tempfile, "tempdir", str(folder))
        assert len(list(load(tmp_path / "in"))) == 1
        assert sorted(tmp_path.rglob("*")) == before


def test_media_with_a_dicomdir(builder, read, tmp_path):
    """The files are found by themselves; the directory has its own code."""
    builder.save(builder.classic(), tmp_path / "IMAGES")
    directory = Dataset()
    directory.file_meta = FileMetaDataset()
    directory.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    directory.file_meta.MediaStorageSOPClassUID = MediaStorageDirectoryStorage
    directory.file_meta.MediaStorageSOPInstanceUID = builder.uid("directory")
    directory.FileSetID = "DISC 1"
    directory.DirectoryRecordSequence = [builder.item(DirectoryRecordType="PATIENT", PatientID="MRN-1")]
    directory.save_as(tmp_path / "DICOMDIR", enforce_file_format=True)
    [scan], [rejection] = read(tmp_path)
    np.testing.assert_array_equal(scan.volume.voxels, builder.values("a", 10))
    assert (rejection.source, rejection.reason) == ("DICOMDIR", "media_directory")


def test_dicom_whose_preamble_looks_packed_is_dicom(builder, read, tmp_path):
    for number, mark in enumerate((b"PK\3\4", b"\x1f\x8b")):
        for path in builder.save(builder.classic(f"s{number}"), tmp_path / str(number)).iterdir():
            path.write_bytes(mark.ljust(128, b"\0") + path.read_bytes()[128:])
    scans, rejected = read(tmp_path)
    assert (len(scans), rejected) == (2, [])


def test_members_that_lead_upwards_stay_within_the_archive(builder, read, tmp_path):
    (tmp_path / "secret").write_text("not to be read")
    files = builder.save(builder.classic(), tmp_path / "src")
    (tmp_path / "in").mkdir()
    zipped(files, tmp_path / "in/x.zip", prefix="../../")
    with zipfile.ZipFile(tmp_path / "in/x.zip", "a") as packed:
        packed.writestr("/secret", "no DICOM")
    scans, [rejection] = read(tmp_path / "in")
    assert len(scans) == 1
    assert (rejection.source, rejection.reason) == ("x.zip/secret", "not_dicom")


def test_one_damaged_member_is_named_and_stops_nothing(builder, read, tmp_path):
    archive = zipped(builder.save(builder.classic(slices=2), tmp_path / "src"), tmp_path / "in.zip")
    for path in (tmp_path / "src").iterdir():
        path.unlink()
    content = bytearray(archive.read_bytes())
    content[200:260] = bytes(60)
    archive.write_bytes(content)
    scans, rejections = read(tmp_path)
    assert scans == []
    assert reasons(rejections) == ["unreadable_archive", "too_few_slices"]


def nested(tmp_path):
    inner = io.BytesIO()
    with zipfile.ZipFile(inner, "w") as packed:
        packed.writestr("x", "y")
    return _zip({"inner.zip": inner.getvalue()})


def locked(tmp_path):
    content = bytearray(_zip({"a": b"b"}))
    content[content.index(b"PK\1\2") + 8] |= 1
    return bytes(content)


def lying(tmp_path):
    """Four GiB announced, three bytes there."""
    content = bytearray(_zip({"a": b"abc"}))
    struct.pack_into("<L", content, content.index(b"PK\1\2") + 24, 0xFFFFFFF0)
    return bytes(content)


def overlapping(tmp_path):
    """Many names for one piece of data (Fifield: A better zip bomb, 2019)."""
    content = _zip({"a": bytes(100_000), "b": b""})
    directory = content.index(b"PK\1\2")
    entry = content[directory : content.index(b"PK\1\2", directory + 4)]
    entries = [entry[:46] + bytes([65 + number]) for number in range(26)]
    end = struct.pack("<4s4H2LH", b"PK\5\6", 0, 0, 26, 26, 26 * len(entries[0]), directory, 0)
    return content[:directory] + b"".join(entries) + end


def twice(tmp_path):
    return _zip({"a": b"1", "./a": b"2"})


def long_list(tmp_path):
    content = bytearray(_zip({"a": b"b"}))
    struct.pack_into("<L", content, content.rindex(b"PK\5\6") + 12, source.MAX_DIRECTORY_BYTES + 1)
    return bytes(content)


def _zip(contents):
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as packed:
        for name, content in contents.items():
            packed.writestr(name, content)
    return out.getvalue()


HOSTILE = {
    "cut": lambda tmp_path: _zip({"a": b"b" * 500})[:60],
    "start alone": lambda tmp_path: b"PK\3\4",
    "an archive in it": nested,
    "locked": locked,
    "lies of its size": lying,
    "overlapping files": overlapping,
    "one name twice": twice,
    "endless list": long_list,
    "gzip of nothing": lambda tmp_path: b"\x1f\x8b" + bytes(500),
    "cut gzip": lambda tmp_path: gzip.compress(os.urandom(500))[:-100],
}


@pytest.mark.parametrize("name", HOSTILE)
def test_packed_file_that_means_harm_is_refused(builder, read, tmp_path, name):
    (tmp_path / "x").write_bytes(HOSTILE[name](tmp_path))
    builder.save(builder.classic(), tmp_path)
    [_], rejections = read(tmp_path)
    assert set(reasons(rejections)) == {"unreadable_archive"}


@pytest.mark.parametrize("form", ["gzip", "zip", "deflated"])
def test_bombs_are_stopped_at_the_bound(builder, read, tmp_path, monkeypatch, form):
    monkeypatch.setattr(source, "MAX_UNPACKED_BYTES", 1 << 20)
    bomb = bytes(3 << 20)
    if form == "zip":
        content = _zip({"a": bomb})
    elif form == "gzip":
        content = gzip.compress(bomb)
    else:
        series = builder.classic(slices=1)
        series[0].file_meta.TransferSyntaxUID = DEFLATED
        series[0].PixelData = bomb
        content = next(builder.save(series, tmp_path / "deflated").iterdir()).read_bytes()
        assert len(content) < 1 << 20
    (tmp_path / "x").write_bytes(content)
    for path in (tmp_path / "deflated").glob("*"):
        path.unlink()
    assert reasons(read(tmp_path)[1]) == ["unreadable_archive"]


def test_too_many_members(read, tmp_path, monkeypatch):
    monkeypatch.setattr(source, "MAX_MEMBERS", 3)
    (tmp_path / "x").write_bytes(_zip({str(number): b"x" for number in range(4)}))
    assert reasons(read(tmp_path)[1]) == ["unreadable_archive"]


def test_too_much_for_its_size(read, tmp_path, monkeypatch):
    monkeypatch.setattr(source, "MAX_ARCHIVE_BYTES", 1 << 20)
    (tmp_path / "x").write_bytes(_zip({str(number): bytes(1 << 19) for number in range(4)}))
    assert reasons(read(tmp_path)[1]) == ["unreadable_archive"]


@pytest.mark.parametrize("where", ["header", "pixels"])
def test_four_gigabytes_that_are_announced_take_no_room(builder, read, tmp_path, where):
    content = bytes(next(builder.save(builder.classic(slices=1), tmp_path / "one").iterdir()).read_bytes())
    mark = b"\x10\0\x20\0LO" if where == "header" else b"\xe0\x7f\x10\0OW"
    claimed = mark[:4] + b"OW\0\0" + struct.pack("<L", 0xFFFFFFF0) + b"abc"
    (tmp_path / "in").mkdir()
    (tmp_path / "in/x").write_bytes(content[: content.index(mark)] + claimed)
    tracemalloc.start()
    [rejection] = read(tmp_path / "in")[1]
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert rejection.reason == ("no_identity" if where == "header" else "too_few_slices")
    assert peak < 50 << 20


def test_deflated_is_read_and_damaged_deflate_refused(builder, read, tmp_path):
    series = builder.classic()
    for ds in series:
        ds.file_meta.TransferSyntaxUID = DEFLATED
    [scan], rejected = read(builder.save(series, tmp_path))
    assert rejected == []
    np.testing.assert_array_equal(scan.volume.voxels, builder.values("a", 10))
    path = next(tmp_path.iterdir())
    path.write_bytes(path.read_bytes()[:-50])
    assert "not_dicom" in reasons(read(tmp_path)[1])
