"""The fast path against its oracle: whatever the bytes, it gives what pydicom gives, or steps aside."""

from __future__ import annotations

import warnings
from collections.abc import Iterable
from dataclasses import fields
from pathlib import Path

import numpy as np
import pytest
from pydicom import dcmread
from pydicom.dataset import Dataset
from pydicom.sequence import Sequence
from pydicom.uid import ImplicitVRLittleEndian, JPEG2000Lossless

from pipeline.dicom import header, pixels
from pipeline.dicom.frames import Frame
from pipeline.dicom.header import Instance
from pipeline.dicom.plain_pixels import Reader
from pipeline.dicom.reasons import Rejection


@pytest.fixture(autouse=True)
def _quiet():
    """The parser warns of damaged files."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield


def compare(paths: Iterable[Path]) -> dict[str, int]:
    """How many files the fast path read and left; that what it read is the same, pixels too."""
    counts = {"read": 0, "left": 0, "pixels": 0}
    for path in paths:
        fast, slow = header._read_plainly(path), header._read_by_parser(path)
        if fast is None:
            counts["left"] += 1
            continue
        counts["read"] += 1
        assert fast == slow, path.name
        if isinstance(fast, Instance) and fast.pixels:
            counts["pixels"] += 1
            same_pixels(fast)
    return counts


def same_pixels(instance: Instance) -> None:
    """Stored values by both ways."""
    assert instance.pixels is not None
    plain = Reader().read(instance.path, instance.pixels)
    if plain is None:
        return
    dataset = dcmread(instance.path, force=True)
    np.testing.assert_array_equal(
        pixels.stored_values(plain[1], plain[0]), pixels.stored_values(pixels.decoded(dataset), dataset)
    )


def implicit(datasets: list[Dataset]) -> list[Dataset]:
    for ds in datasets:
        ds.file_meta.TransferSyntaxUID = ImplicitVRLittleEndian
    return datasets


@pytest.fixture
def files(builder, tmp_path):
    """One file or two of every kind that the builder makes."""
    kinds = {
        "classic": builder.classic(slices=3),
        "implicit": implicit(builder.classic("i", slices=2)),
        "signed": builder.classic("s", slices=2, PixelRepresentation=1),
        "annotated": builder.classic("b", slices=2, BurnedInAnnotation="YES"),
        "not annotated": builder.classic("n", slices=2, BurnedInAnnotation="NO"),
        "dirty": builder.classic("d", slices=2, BitsStored=10, HighBit=12),
        "enhanced": [builder.enhanced(slices=4)],
        "implicit enhanced": implicit([builder.enhanced("ie", slices=4)]),
        "mosaic": [builder.mosaic(), builder.mosaic("older", csa_header=False)],
        "private": [with_private(ds) for ds in builder.classic("p", slices=2)],
        "implicit private": implicit([with_private(ds) for ds in builder.classic("ip", slices=2)]),
        "not grey": builder.classic("rgb", slices=1, SOPClassUID="1.2.840.10008.5.1.4.1.1.2", Modality="CT"),
    }
    folder = tmp_path / "files"
    for name, datasets in kinds.items():
        builder.save(datasets, folder / name)
    compressed = builder.classic("j", slices=1)[0]
    compressed.compress(JPEG2000Lossless, generate_instance_uid=False)
    builder.save([compressed], folder / "compressed")
    return sorted(path for path in folder.rglob("*") if path.is_file())


def with_private(ds: Dataset) -> Dataset:
    ds.private_block(0x0019, "SIEMENS MR HEADER", create=True).add_new(0x0C, "IS", 1000)
    ds.private_block(0x0019, "SIEMENS MR HEADER").add_new(0x0E, "FD", [0.6, 0.0, 0.8])
    ds.private_block(0x2005, "Philips MR Imaging DD 001", create=True).add_new(0x0E, "FL", 0.25)
    ds.private_block(0x2005, "Philips MR Imaging DD 001").add_new(0x99, "SQ", Sequence([Dataset()]))
    for element in ds:
        if element.VR == "SQ":
            element.is_undefined_length = True
    ds.SpecificCharacterSet = "ISO_IR 100"
    return ds


def test_every_field_is_compared():
    """What a header is kept as is compared whole, but for the way to its pixels, which `compare` follows."""
    left_out = {field.name for kept in (Instance, Frame, Rejection) for field in fields(kept) if not field.compare}
    assert left_out == {"pixels"}


def test_made_up_files_are_read_and_the_same(files):
    assert compare(files) == {"read": len(files), "left": 0, "pixels": len(files) - 2}


def test_files_of_scanners_are_the_same(shared):
    folder = shared / "data/dicom"
    paths = sorted(path for path in folder.rglob("*") if path.is_file() and path.suffix != ".gz")
    assert len(paths) > 200
    counts = compare(paths)
    assert counts["read"] > 180
    assert counts["pixels"] > 150


def test_damaged_copies_are_the_same_or_left(files, tmp_path):
    """A few bits anywhere before the pixels, or another byte, or the end gone."""
    originals = [path.read_bytes() for path in files]
    rng = np.random.default_rng(20240611)
    paths = []
    for number in range(1200):
        content = bytearray(originals[number % len(originals)])
        for place in rng.integers(128, min(len(content), 2600), rng.integers(1, 4)):
            content[place] = content[place] ^ 1 << rng.integers(8) if number % 2 else rng.choice([0, 32, 48, 92, 255])
        paths.append(tmp_path / f"{number}")
        paths[-1].write_bytes(content[: rng.integers(132, len(content))] if number % 5 == 0 else content)
    counts = compare(paths)
    assert counts["read"] > 300
    assert counts["left"] > 200


def test_damaged_files_of_scanners_are_the_same_or_left(shared, tmp_path):
    """Of each kind of scanner one, with real private elements, flipped where elements begin and where values stand."""
    names = ("dcm_qa_nih/In", "dcm_qa_enh/In", "dcm_qa/In/Orientation", "pydicom/src")
    chosen = [
        sorted(p for p in (shared / "data/dicom" / name).rglob("*") if p.is_file() and p.stat().st_size > 8000)[::37]
        for name in names
    ]
    originals = [path.read_bytes() for paths in chosen for path in paths]
    rng = np.random.default_rng(20240612)
    paths = []
    for number in range(300):
        content = bytearray(originals[number % len(originals)])
        for place in rng.integers(128, min(len(content), 16000), rng.integers(1, 4)):
            content[place] ^= 1 << rng.integers(8)
        paths.append(tmp_path / f"{number}")
        paths[-1].write_bytes(content)
    assert compare(paths)["read"] > 30


@pytest.mark.parametrize("value", ["YES", "NO", "no", " NO", "NO\0", "", " ", ["", "NO"], ["NO", "YES"]])
def test_annotation_is_read_as_the_parser_reads_it(builder, tmp_path, value):
    [path] = builder.save(builder.classic(slices=1, BurnedInAnnotation=value), tmp_path).iterdir()
    assert compare([path])["read"] == 1


@pytest.mark.parametrize(
    ("keyword", "value"),
    [
        ("SpecificCharacterSet", "ISO_IR 13"),
        ("SpecificCharacterSet", ["", "ISO 2022 IR 87"]),
        ("Manufacturer", "Müller"),
        ("PatientID", "a\\b"),
        ("RepetitionTime", " "),
    ],
)
def test_what_could_mean_something_else_is_left(builder, tmp_path, keyword, value):
    series = builder.classic(slices=1)
    series[0].SpecificCharacterSet = "ISO_IR 100"
    setattr(series[0], keyword, value)
    [path] = builder.save(series, tmp_path).iterdir()
    assert header._read_plainly(path) is None
    assert compare([path])["left"] == 1


def test_slices_of_one_series_differ_in_what_is_their_own(builder, tmp_path):
    """The second file and those after it are made from the first."""
    series = builder.classic(slices=5)
    for index, ds in enumerate(series):
        ds.AcquisitionTime = f"1200{index:02}"
    series[2].BurnedInAnnotation = "YES"
    series[3].EchoTime = 77
    series[4].NumberOfFrames = 2
    folder = builder.save(series, tmp_path)
    assert compare(sorted(folder.iterdir()))["read"] == 5
    assert [found.annotated for found in header.read_headers(sorted(folder.iterdir()))].count(True) == 1


def test_a_header_that_there_is_no_memory_for_is_left(builder, tmp_path, monkeypatch):
    [path] = builder.save(builder.classic(slices=1), tmp_path).iterdir()

    def full(*_: object) -> None:
        raise MemoryError

    monkeypatch.setattr("pipeline.dicom.plain_header.os.pread", full)
    assert header._read_plainly(path) is None


def test_sequences_nested_deep_are_left(builder, tmp_path):
    ds = inner = builder.classic(slices=1)[0]
    for _ in range(200):
        item = Dataset()
        inner.add_new(0x00081140, "SQ", Sequence([item]))
        inner[0x00081140].is_undefined_length = True
        inner = item
    [path] = builder.save([ds], tmp_path).iterdir()
    assert header._read_plainly(path) is None
    assert isinstance(header.read_headers([path])[0], (Instance, Rejection))
