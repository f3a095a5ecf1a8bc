"""Siemens' CSA image header: a few numbers stay, and readers find them."""

from __future__ import annotations

import subprocess
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydicom import dcmread

from pipeline.dicom.csa_reduced import _ITEM, _MARK, _TAG, KEPT, _tags, reduced
from pipeline.dicom.deidentify import Options
from pipeline.dicom.export import Job, write_series
from pipeline.dicom.pseudonym import Pseudonyms
from pipeline.dicom.sources import sources
from pipeline.imaging import nifti

NAMES = Pseudonyms(b"k" * 32)
CANARY = b"Zebrafinch"


def header(tags: dict[str, list[bytes]], noise: bytes = b"") -> bytes:
    """A CSA image header; `noise` stands wherever a reader does not look."""
    parts = [_MARK, len(tags).to_bytes(4, "little"), b"M\0\0\0"]
    for name, values in tags.items():
        parts.append(_TAG.pack((name.encode() + b"\0" + noise)[:64], len(values), b"FD\0X", 4, len(values), 77))
        for value in values:
            content = value + b"\0" + noise
            parts.append(_ITEM.pack(1, len(content), 77, 1) + content + bytes(-len(content) % 4))
    return b"".join(parts) + noise


def test_numbers_stay_and_all_else_goes():
    tags = {"PatientName": [CANARY], "SliceNormalVector": [b"0.1", b"-0.2", b"0.97", b""], "B_value": [b" 1000 "]}
    found = reduced(header(tags, noise=CANARY))
    assert found is not None
    assert CANARY not in found
    assert [(name, values) for name, _, _, values in _tags(found)] == [
        ("SliceNormalVector", ["0.1", "-0.2", "0.97"]),
        ("B_value", ["1000"]),
    ]
    assert reduced(found) == found


@pytest.mark.parametrize(
    "content",
    [
        b"",
        CANARY,
        header({}),
        header({"PatientName": [CANARY]}),
        header({"B_value": [CANARY]}),
        header({"B_value": [b"19470309.5", b"2"]})[:-9],
        _MARK + b"\xff" * 100,
    ],
)
def test_what_is_no_such_header_goes(content):
    assert reduced(content) is None


@settings(max_examples=300, deadline=None)
@given(st.data())
def test_damaged_headers_give_numbers_or_nothing(data):
    whole = bytearray(header({"EchoTime": [CANARY], "SliceNormalVector": [b"0.1", b"1"], "Name": [CANARY]}, CANARY))
    for _ in range(data.draw(st.integers(1, 8))):
        whole[data.draw(st.integers(0, len(whole) - 1))] = data.draw(st.integers(0, 255))
    found = reduced(bytes(whole[: data.draw(st.integers(0, len(whole)))]))
    assert found is None or CANARY not in found


def converted(dcm2niix: str, folder: Path, out: Path) -> Path:
    out.mkdir()
    subprocess.run([dcm2niix, "-b", "n", "-z", "y", "-f", "x", "-o", out, folder], check=True, capture_output=True)
    [path] = out.glob("*.nii.gz")
    return path


@pytest.mark.acceptance
@pytest.mark.parametrize(
    ("folder", "slices"), [("dcm_qa_nih/In/20180918Si", 5), ("dcm_qa/In/Orientation/ax/axdesc36", 36)]
)
def test_dcm2niix_reads_the_same_volume_from_a_mosaic(program, shared, tmp_path, folder, slices):
    found = sources(shared / "data/dicom" / folder)
    first = next(
        source
        for source in found
        if source.sop_uid and "MOSAIC" in dcmread(source.path, stop_before_pixels=True, force=True).ImageType
    )
    (tmp_path / "in").mkdir()
    (tmp_path / "in/a.dcm").write_bytes(first.path.read_bytes())
    [source] = sources(tmp_path / "in")
    [path] = write_series(Job("S-000000000000", (source,), tmp_path / "out", NAMES, Options())).paths
    made = dcmread(tmp_path / "out" / path)
    assert {name for name, *_ in _tags(made[0x0029, 0x1010].value)} <= set(KEPT)
    before = nifti.load(converted(program("dcm2niix"), tmp_path / "in", tmp_path / "before"))
    after = nifti.load(converted(program("dcm2niix"), tmp_path / "out", tmp_path / "after"))
    np.testing.assert_array_equal(before.voxels, after.voxels)
    np.testing.assert_allclose(before.affine_lps, after.affine_lps, atol=1e-6)
    assert before.voxels.shape[0] == slices
