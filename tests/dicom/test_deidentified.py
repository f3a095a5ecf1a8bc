"""A folder of de-identified DICOM from what was read: archives, series of several volumes, parts of files."""

from __future__ import annotations

import gzip
import zipfile
from pathlib import Path
from typing import Any

import pytest

from pipeline.dicom import deidentified, export
from pipeline.dicom.deidentify import Options
from pipeline.dicom.pseudonym import Pseudonyms

NAMES = Pseudonyms(b"k" * 32)


@pytest.fixture
def shared_as(read, tmp_path, monkeypatch) -> Any:
    """What is read of a folder, what is read of that which was passed on, and the names of the files written."""

    def shared_as(folder: Path) -> Any:
        written: list[str] = []
        real = export.write_atomic
        monkeypatch.setattr(
            export, "write_atomic", lambda path, write: written.append(Path(path).name) or real(path, write)
        )
        scans, _ = read(folder)
        deidentified.write(tmp_path / "out", scans, NAMES, Options(), 1)
        return scans, read(tmp_path / "out")[0], written

    return shared_as


def images(scans):
    return sorted(scan.source_sha256 for scan in scans)


def test_files_in_archives_are_passed_on(builder, shared_as, tmp_path):
    source = tmp_path / "in"
    for path in builder.save(builder.classic("gz"), source).iterdir():
        path.write_bytes(gzip.compress(path.read_bytes()))
    with zipfile.ZipFile(source / "x.zip", "w") as packed:
        for path in builder.save(builder.classic("zip"), tmp_path / "src").iterdir():
            packed.write(path, f"Jane/{path.name}")
    scans, passed, written = shared_as(source)
    assert images(scans) == images(passed)
    assert (len(scans), len(written)) == (2, 20)


def test_each_file_of_several_volumes_is_written_once(builder, shared_as, tmp_path):
    """Two echoes, each of files of its own, and an enhanced file that holds both."""
    builder.save(builder.several([{"EchoTime": 20}, {"EchoTime": 90}]), tmp_path / "in")
    ds = builder.enhanced(order=[*range(6), *range(6)], slices=6)
    for frame, group in enumerate(ds.PerFrameFunctionalGroupsSequence):
        group.MREchoSequence = [builder.item(EffectiveEchoTime=20 if frame < 6 else 90)]
    builder.save([ds], tmp_path / "in")
    scans, passed, written = shared_as(tmp_path / "in")
    assert len(scans) == 4
    assert images(scans) == images(passed)
    assert len(written) == len(set(written)) == 13


def test_files_of_volumes_that_were_not_taken_stay(builder, shared_as, tmp_path):
    builder.save(builder.several([{"TemporalPositionIdentifier": k} for k in (1, 2, 3)]), tmp_path / "in")
    scans, passed, written = shared_as(tmp_path / "in")
    assert images(scans) == images(passed)
    assert (len(scans), len(written)) == (1, 6)


def halves(builder, **frame_type):
    """An enhanced file whose second volume has other words."""
    ds = builder.enhanced(order=[*range(6), *range(6)], slices=6)
    values = {"FrameType": list(ds.ImageType), "ComplexImageComponent": "MAGNITUDE"}
    for frame, group in enumerate(ds.PerFrameFunctionalGroupsSequence):
        group.MRImageFrameTypeSequence = [builder.item(**values | (frame_type if frame >= 6 else {}))]
    return ds


def test_a_file_of_which_a_part_was_taken_goes_whole(builder, shared_as, tmp_path):
    builder.save([halves(builder, ComplexImageComponent="PHASE")], tmp_path / "in")
    scans, passed, written = shared_as(tmp_path / "in")
    assert images(scans) == images(passed)
    assert (len(scans), len(written)) == (1, 1)


@pytest.mark.parametrize("word", ["DERIVED", "MIXED"])
def test_a_file_with_frames_that_may_show_text_does_not(builder, shared_as, tmp_path, capsys, word):
    """Nor does the rest of its volume."""
    mixed = halves(builder, FrameType=[word, "PRIMARY", "VOLUME", "NONE"])
    beside = builder.enhanced(order=[6, 7], slices=8)
    beside.SOPInstanceUID = builder.uid("beside")
    builder.save([mixed, beside], tmp_path / "in")
    builder.save(builder.classic(), tmp_path / "in")
    scans, passed, written = shared_as(tmp_path / "in")
    assert (len(scans), len(passed), len(written)) == (2, 1, 10)
    assert "is not among the de-identified: burned_in, text may" in capsys.readouterr().err
