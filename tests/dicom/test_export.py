"""De-identified files: valid by dciodvfy, equal in pixels, named by pseudonyms, whole or not there."""

from __future__ import annotations

import errno
import os
import re
import subprocess
from pathlib import Path

import numpy as np
import pytest
from pydicom import dcmread
from pydicom.uid import ExplicitVRLittleEndian

from pipeline import config
from pipeline.demo.classic import classic
from pipeline.demo.cohort import cohort
from pipeline.demo.enhanced import enhanced
from pipeline.demo.modules import Series
from pipeline.demo.simulate import images
from pipeline.dicom import export, pixels
from pipeline.dicom.deidentify import Options
from pipeline.dicom.export import Job, remove_others, write_series
from pipeline.dicom.pseudonym import Pseudonyms
from pipeline.dicom.sources import sources
from pipeline.errors import StorageError

NAMES = Pseudonyms(b"k" * 32)
NAME = re.compile(r"P-[0-9a-f]{12}/E-[0-9a-f]{12}/S-[0-9a-f]{12}/I-[0-9a-f]{12}\.dcm")


def job(folder: Path, out: Path, **options: bool) -> Job:
    """The one series of a folder."""
    found = tuple(sources(folder))
    return Job(NAMES.series(found[0].series_uid), found, out, NAMES, Options(**options))


def test_a_series_goes_to_one_folder_under_names_from_the_key_alone(builder, tmp_path):
    builder.save(builder.classic(slices=3), tmp_path / "in")
    written = write_series(job(tmp_path / "in", tmp_path / "out"))
    assert written.reason is None
    assert sorted(written.paths) == sorted(
        path.relative_to(tmp_path / "out").as_posix() for path in (tmp_path / "out").rglob("*") if path.is_file()
    )
    assert len(written.paths) == 3
    assert all(NAME.fullmatch(path) for path in written.paths)
    assert len({Path(path).parent for path in written.paths}) == 1


def test_values_are_those_of_the_source_and_nothing_stands_in_unused_bits(builder, tmp_path):
    ds = builder.classic(slices=1)[0]
    dirty = np.frombuffer(ds.PixelData, "<u2") | 0xA000
    ds.PixelData = dirty.tobytes() + b"Zebrafinch"
    builder.save([ds], tmp_path / "in")
    [path] = write_series(job(tmp_path / "in", tmp_path / "out")).paths
    made = dcmread(tmp_path / "out" / path)
    np.testing.assert_array_equal(np.frombuffer(made.PixelData, "<u2"), dirty & 0xFFF)
    assert (made.HighBit, made.file_meta.TransferSyntaxUID) == (11, ExplicitVRLittleEndian)


def test_file_meta_and_preamble_are_new(builder, tmp_path):
    ds = builder.classic(slices=1)[0]
    ds.preamble = b"Zebrafinch".ljust(128)
    ds.file_meta.SourceApplicationEntityTitle = "ZEBRAFINCH"
    ds.file_meta.PrivateInformationCreatorUID, ds.file_meta.PrivateInformation = "1.2.3", b"Zebrafinch"
    builder.save([ds], tmp_path / "in")
    [path] = write_series(job(tmp_path / "in", tmp_path / "out")).paths
    made = dcmread(tmp_path / "out" / path)
    assert made.preamble == bytes(128)
    assert {element.keyword for element in made.file_meta} == {
        *("FileMetaInformationGroupLength", "FileMetaInformationVersion", "MediaStorageSOPClassUID"),
        *("MediaStorageSOPInstanceUID", "TransferSyntaxUID", "ImplementationClassUID", "ImplementationVersionName"),
    }
    assert made.file_meta.MediaStorageSOPInstanceUID == made.SOPInstanceUID == NAMES.uid(ds.SOPInstanceUID)


@pytest.mark.parametrize("flag", ["slice 0", "slice 2"])
def test_a_series_with_a_burned_in_slice_is_left_out_whole(builder, tmp_path, flag):
    builder.save(builder.classic(slices=3), tmp_path / "in")
    write_series(job(tmp_path / "in", tmp_path / "out"))
    flagged = builder.classic(slices=3)
    flagged[int(flag[-1])].BurnedInAnnotation = "YES"
    builder.save(flagged, tmp_path / "in")
    written = write_series(job(tmp_path / "in", tmp_path / "out"))
    assert (written.reason, written.paths) == ("burned_in", ())
    assert not list((tmp_path / "out").rglob("*.dcm"))


def test_a_series_that_cannot_be_read_leaves_nothing(builder, tmp_path):
    builder.save(builder.classic(slices=3), tmp_path / "in")
    last = sorted((tmp_path / "in").iterdir())[-1]
    last.write_bytes(last.read_bytes()[:-1500])
    written = write_series(job(tmp_path / "in", tmp_path / "out"))
    assert (written.reason, written.paths) == ("unreadable_pixels", ())
    assert not list((tmp_path / "out").rglob("*.dcm"))


def test_files_of_earlier_runs_go_and_strangers_stay(builder, tmp_path):
    builder.save(builder.classic("a", 2), tmp_path / "a")
    builder.save(builder.classic("b", 2, patient="MRN-2"), tmp_path / "b")
    out = tmp_path / "out"
    kept = write_series(job(tmp_path / "a", out)).paths
    write_series(job(tmp_path / "b", out))
    (out / "notes.txt").write_text("mine")
    (out / "P-mine/E-x/S-x").mkdir(parents=True)
    (out / "P-mine/E-x/S-x/I-x.dcm").write_text("mine")
    assert remove_others(out, kept) == 2
    left = {path.relative_to(out).as_posix() for path in out.rglob("*") if path.is_file()}
    assert left == {*kept, "notes.txt", "P-mine/E-x/S-x/I-x.dcm"}
    assert len([path for path in out.iterdir() if path.is_dir()]) == 2


def test_equal_bytes_again(builder, tmp_path):
    builder.save([builder.enhanced()], tmp_path / "in")
    [one] = write_series(job(tmp_path / "in", tmp_path / "one")).paths
    [two] = write_series(job(tmp_path / "in", tmp_path / "two")).paths
    assert (tmp_path / "one" / one).read_bytes() == (tmp_path / "two" / two).read_bytes()


def test_full_disk_is_an_error_and_leaves_no_half_file(builder, tmp_path, monkeypatch):
    builder.save(builder.classic(slices=3), tmp_path / "in")

    def full(descriptor):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(StorageError, match=r"room on the disk for .*I-[0-9a-f]{12}\.dcm"):
        write_series(job(tmp_path / "in", tmp_path / "out"))
    assert not [path for path in (tmp_path / "out").rglob("*") if path.is_file()]


def errors(program: str, path: Path) -> list[str]:
    run = subprocess.run([program, "-new", path], capture_output=True, text=True, errors="replace")
    return [line for line in (run.stdout + run.stderr).splitlines() if line.startswith("Error")]


@pytest.mark.acceptance
@pytest.mark.parametrize("kind", ["classic", "enhanced"])
@pytest.mark.parametrize("keep", [True, False])
def test_demo_files_are_valid_afterwards(program, root, tmp_path, kind, keep):
    small = config.load(root / "params.yaml").demo.model_copy(update={"patients": 12, "slices": 8, "matrix": 64})
    patient = next(one for one in cohort(small, 1) if one.classic)
    made = next(images(patient, np.random.default_rng(1)))
    series = Series(1, patient, 2, "FLAIR", "AX T2 FLAIR")
    files = list(classic(series, made, [3])) if kind == "classic" else [enhanced(series, made, range(4))]
    (tmp_path / "in").mkdir()
    files[0].save_as(tmp_path / "in/a.dcm", enforce_file_format=True)
    [path] = write_series(job(tmp_path / "in", tmp_path / "out", keep_sex_age=keep)).paths
    assert errors(program("dciodvfy"), tmp_path / "out" / path) == []


@pytest.mark.acceptance
def test_scans_of_every_vendor_are_no_less_valid_afterwards(program, shared, tmp_path):
    """One file of each folder that holds ORIGINAL MR; pixels are those of the source."""
    tried = []
    for folder in sorted({path.parent for path in (shared / "data/dicom").rglob("*") if path.is_file()}):
        for source in sources(folder):
            if source.path.parent != folder or not source.sop_uid or folder in tried:
                continue
            written = write_series(
                Job(NAMES.series(source.series_uid), (source,), tmp_path, NAMES, Options(keep_sex_age=True))
            )
            if written.reason:
                continue
            tried.append(folder)
            after, before = dcmread(tmp_path / written.paths[0]), dcmread(source.path, force=True)
            assert len(errors(program("dciodvfy"), tmp_path / written.paths[0])) <= len(
                errors(program("dciodvfy"), source.path)
            )
            for one, other in zip(pixels.decoded(after), pixels.decoded(before), strict=True):
                np.testing.assert_array_equal(pixels.stored_values(one, after), pixels.stored_values(other, before))
    assert len(tried) > 10
    assert export.IMPLEMENTATION_UID.startswith("2.25.")
