"""De-identified files: valid by dciodvfy, equal in pixels, named by pseudonyms, whole or not there."""

from __future__ import annotations

import dataclasses
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
from pipeline.dicom import export, pixels, source
from pipeline.dicom.deidentify import Options
from pipeline.dicom.export import Job, remove_others, write_series
from pipeline.dicom.header import Instance, read_headers
from pipeline.dicom.pseudonym import Pseudonyms
from pipeline.errors import StorageError

NAMES = Pseudonyms(b"k" * 32)
PLACE = "P-0123456789ab/E-0123456789ab/S-0123456789ab"


def job(folder: Path, out: Path, **options: bool) -> Job:
    """The files of a folder as one series."""
    return Job(PLACE, tuple(sorted(folder.iterdir())), out, NAMES, Options(**options))


def files(out: Path) -> list[Path]:
    return sorted(path for path in out.rglob("*") if path.is_file())


def test_a_series_goes_to_one_folder_under_names_from_the_key_alone(builder, tmp_path):
    builder.save(builder.classic(slices=3), tmp_path / "in")
    written = write_series(job(tmp_path / "in", tmp_path / "out"))
    assert (written.reason, written.files) == (None, 3)
    paths = [path.relative_to(tmp_path / "out").as_posix() for path in files(tmp_path / "out")]
    assert len(paths) == 3
    assert all(re.fullmatch(rf"{PLACE}/I-[0-9a-f]{{12}}\.dcm", path) for path in paths)


def test_values_are_those_of_the_source_and_nothing_stands_in_unused_bits(builder, tmp_path):
    ds = builder.classic(slices=1)[0]
    dirty = np.frombuffer(ds.PixelData, "<u2") | 0xA000
    ds.PixelData = dirty.tobytes() + b"Zebrafinch"
    builder.save([ds], tmp_path / "in")
    write_series(job(tmp_path / "in", tmp_path / "out"))
    [path] = files(tmp_path / "out")
    made = dcmread(path)
    np.testing.assert_array_equal(np.frombuffer(made.PixelData, "<u2"), dirty & 0xFFF)
    assert (made.HighBit, made.file_meta.TransferSyntaxUID) == (11, ExplicitVRLittleEndian)


def test_file_meta_and_preamble_are_new(builder, tmp_path):
    ds = builder.classic(slices=1)[0]
    ds.preamble = b"Zebrafinch".ljust(128)
    ds.file_meta.SourceApplicationEntityTitle = "ZEBRAFINCH"
    ds.file_meta.PrivateInformationCreatorUID, ds.file_meta.PrivateInformation = "1.2.3", b"Zebrafinch"
    builder.save([ds], tmp_path / "in")
    write_series(job(tmp_path / "in", tmp_path / "out"))
    [path] = files(tmp_path / "out")
    made = dcmread(path)
    assert made.preamble == bytes(128)
    assert {element.keyword for element in made.file_meta} == {
        *("FileMetaInformationGroupLength", "FileMetaInformationVersion", "MediaStorageSOPClassUID"),
        *("MediaStorageSOPInstanceUID", "TransferSyntaxUID", "ImplementationClassUID", "ImplementationVersionName"),
    }
    assert made.file_meta.MediaStorageSOPInstanceUID == made.SOPInstanceUID == NAMES.uid(ds.SOPInstanceUID)


def test_a_series_that_cannot_be_read_leaves_nothing(builder, tmp_path):
    builder.save(builder.classic(slices=3), tmp_path / "in")
    write_series(job(tmp_path / "in", tmp_path / "out"))
    last = sorted((tmp_path / "in").iterdir())[-1]
    last.write_bytes(last.read_bytes()[:-1500])
    written = write_series(job(tmp_path / "in", tmp_path / "out"))
    assert (written.reason, written.files) == ("unreadable_pixels", 0)
    assert list((tmp_path / "out").iterdir()) == []


def test_files_of_earlier_runs_go_and_strangers_stay(builder, tmp_path):
    builder.save(builder.classic("a", 3), tmp_path / "in")
    out = tmp_path / "out"
    write_series(job(tmp_path / "in", out))
    other = PLACE.replace("S-0", "S-f")
    write_series(dataclasses.replace(job(tmp_path / "in", out), place=other))
    strangers = [out / "notes.txt", out / PLACE / "mine.dcm", out / "P-mine/E-x/S-x/I-0123456789ab.dcm"]
    strangers[2].parent.mkdir(parents=True)
    for path in strangers:
        path.write_text("mine")
    next((tmp_path / "in").iterdir()).unlink()
    assert write_series(job(tmp_path / "in", out)).removed == 1
    assert remove_others(out, {PLACE}) == 3
    assert not (out / other).exists()
    left = set(files(out))
    assert left > set(strangers)
    assert {path.parent for path in left - set(strangers)} == {out / PLACE}
    assert len(left) == 2 + len(strangers)


def test_equal_bytes_again(builder, tmp_path):
    builder.save([builder.enhanced()], tmp_path / "in")
    for name in ("one", "two"):
        write_series(job(tmp_path / "in", tmp_path / name))
    [one], [two] = files(tmp_path / "one"), files(tmp_path / "two")
    assert one.read_bytes() == two.read_bytes()
    assert one.relative_to(tmp_path / "one") == two.relative_to(tmp_path / "two")


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
    one = next(classic(series, made, [3])) if kind == "classic" else enhanced(series, made, range(4))
    (tmp_path / "in").mkdir()
    one.save_as(tmp_path / "in/a.dcm", enforce_file_format=True)
    write_series(job(tmp_path / "in", tmp_path / "out", keep_sex_age=keep))
    [path] = files(tmp_path / "out")
    assert errors(program("dciodvfy"), path) == []


@pytest.mark.acceptance
def test_scans_of_every_vendor_are_no_less_valid_afterwards(program, shared, tmp_path):
    """One file of each folder that holds ORIGINAL MR; pixels are those of the source."""
    tried = []
    for folder in sorted({path.parent for path in (shared / "data/dicom").rglob("*") if path.is_file()}):
        headers = read_headers(sorted(path for path in folder.iterdir() if path.is_file()))
        mr = [header.path for header in headers if isinstance(header, Instance) and not header.refusal]
        for count, path in enumerate(mr):
            out = tmp_path / str(len(tried)) / str(count)
            if write_series(Job(PLACE, (path,), out, NAMES, Options(keep_sex_age=True))).reason:
                continue
            tried.append(folder)
            [made] = files(out)
            with source.opened(path) as handle:
                (tmp_path / "plain").write_bytes(handle.read())
            after, before = dcmread(made), dcmread(tmp_path / "plain", force=True)
            assert len(errors(program("dciodvfy"), made)) <= len(errors(program("dciodvfy"), tmp_path / "plain"))
            for one, other in zip(pixels.decoded(after), pixels.decoded(before), strict=True):
                np.testing.assert_array_equal(pixels.stored_values(one, after), pixels.stored_values(other, before))
            break
    assert len(tried) > 10
    assert export.IMPLEMENTATION_UID.startswith("2.25.")
