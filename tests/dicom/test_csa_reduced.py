"""Siemens' CSA image header: a few numbers stay, and readers find them."""

from __future__ import annotations

import subprocess
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydicom import dcmread

from pipeline.dicom import csa
from pipeline.dicom.csa_reduced import KEPT, reduced
from pipeline.dicom.deidentify import Options
from pipeline.dicom.export import Job, write_series
from pipeline.dicom.header import Instance, find_files, read_headers
from pipeline.dicom.pseudonym import Pseudonyms
from pipeline.imaging import nifti

NAMES = Pseudonyms(b"k" * 32)
CANARY = b"Zebrafinch"


def header(tags: dict[str, list[bytes]], noise: bytes = b"") -> bytes:
    """A CSA image header; `noise` stands wherever a reader does not look."""
    parts = [b"SV10\4\3\2\1", csa.COUNT.pack(len(tags), 77)]
    for name, values in tags.items():
        written = (name.encode() + b"\0" + noise)[:64]
        parts.append(csa.ELEMENT.pack(written, len(values), b"FD\0X", 4, len(values), 77))
        for value in values:
            content = value + b"\0" + noise
            parts.append(csa.VALUE.pack(1, len(content), 77, 1) + content + bytes(-len(content) % 4))
    return b"".join(parts) + noise


def values(content: bytes) -> dict[str, tuple[str, ...]]:
    return csa.values(content, frozenset({*KEPT, "PatientName"}))


def test_numbers_stay_and_all_else_goes():
    tags = {"PatientName": [CANARY], "SliceNormalVector": [b"0.1", b"-0.2", b"0.97", b""], "B_value": [b" 1000 "]}
    found = reduced(header(tags, noise=CANARY))
    assert found is not None
    assert CANARY not in found
    assert values(found) == {"SliceNormalVector": ("0.1", "-0.2", "0.97"), "B_value": ("1000",)}
    assert reduced(found) == found


@pytest.mark.parametrize("new", [True, False], ids=["SV10", "before"])
def test_both_layouts_become_the_newer(builder, new):
    elements = {
        "PatientName": ["Zebrafinch"] * 6,
        "NumberOfImagesInMosaic": ["35"],
        "SliceNormalVector": ["0", "0", "1"],
    }
    found = reduced(builder.csa(elements, new))
    assert found is not None
    assert found.startswith(b"SV10")
    assert CANARY not in found
    assert values(found) == {"NumberOfImagesInMosaic": ("35",), "SliceNormalVector": ("0", "0", "1")}


def test_elements_are_described_as_scanners_do(shared):
    """VR and type of each, of a scanner that writes them all."""
    path = next((shared / "data/dicom/dcm_qa/In/Orientation/ax/axasc35").glob("MR.*"))
    content = dcmread(path)[0x0029, 0x1010].value
    found = set()
    for name in KEPT:
        _, _, vr, kind, _, _ = csa.ELEMENT.unpack_from(content, content.index(name.encode() + b"\0"))
        found.add((name, vr[:2], kind))
    assert found == {(name, *described) for name, described in KEPT.items()}


@pytest.mark.parametrize(
    "content",
    [
        b"",
        CANARY,
        header({}),
        header({"PatientName": [CANARY]}),
        header({"B_value": [CANARY]}),
        header({"B_value": [b"19470309"]}),
        header({"B_value": [b"1947.5", b"2"]})[:-9],
        b"SV10\4\3\2\1" + b"\xff" * 100,
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
    found = read_headers(find_files(shared / "data/dicom" / folder))
    first = next(one.path for one in found if isinstance(one, Instance) and one.tiled)
    (tmp_path / "in").mkdir()
    (tmp_path / "in/a.dcm").write_bytes(first.read_bytes())
    write_series(Job("P-0/E-0/S-0", (tmp_path / "in/a.dcm",), tmp_path / "out", NAMES, Options()))
    [path] = (tmp_path / "out").rglob("*.dcm")
    assert set(values(dcmread(path)[0x0029, 0x1010].value)) <= set(KEPT)
    before = nifti.load(converted(program("dcm2niix"), tmp_path / "in", tmp_path / "before"))
    after = nifti.load(converted(program("dcm2niix"), tmp_path / "out", tmp_path / "after"))
    np.testing.assert_array_equal(before.voxels, after.voxels)
    np.testing.assert_allclose(before.affine_lps, after.affine_lps, atol=1e-6)
    assert before.voxels.shape[0] == slices
