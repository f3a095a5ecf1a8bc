"""Siemens's CSA header, both layouts, against nibabel's reader; and garbage."""

from __future__ import annotations

import warnings

import numpy as np
import pytest
from pydicom import dcmread

from pipeline.dicom import csa

with warnings.catch_warnings():
    warnings.simplefilter("ignore")  # nibabel calls its DICOM readers experimental
    from nibabel.nicom import csareader

WANTED = frozenset({"NumberOfImagesInMosaic", "SliceNormalVector", "B_value", "EchoLinePosition"})


@pytest.mark.parametrize(
    "name", ["dcm_qa/In/Orientation/ax/axasc35", "dcm_qa_nih/In/20180918Si/mr_0003", "dcm_qa_12bit/In"]
)
def test_scanners_headers_as_nibabel_reads_them(shared, name):
    path = next(
        path for path in sorted((shared / "data/dicom" / name).iterdir()) if path.suffix not in {".nii", ".txt"}
    )
    content = dcmread(path)[0x00291010].value
    found, expected = csa.values(content, WANTED), csareader.read(content)["tags"]
    assert found.keys() == WANTED & expected.keys()
    for element, texts in found.items():
        items = [item for item in expected[element]["items"] if item is not None]
        assert [float(text) for text in texts] == [float(item) for item in items]
    assert len(found["SliceNormalVector"]) == 3


@pytest.mark.parametrize("new", [True, False], ids=["SV10", "before"])
def test_both_layouts(builder, new):
    content = builder.csa(
        {"Other": ["1"] * 6, "Another": ["2"] * 6, "NumberOfImagesInMosaic": ["35"], "Empty": []}, new
    )
    wanted = frozenset({"NumberOfImagesInMosaic", "Empty"})
    assert csa.values(content, wanted) == {"NumberOfImagesInMosaic": ("35",), "Empty": ()}
    if new:  # nibabel takes the second element's number of values in the older one, SPM and we the first's
        assert csareader.read(content)["tags"]["NumberOfImagesInMosaic"]["items"][0] == 35


def test_garbage_is_an_empty_or_shorter_header(builder):
    rng = np.random.default_rng(20250311)
    whole = builder.csa({"NumberOfImagesInMosaic": ["35"], "SliceNormalVector": ["0", "0", "1"]}, True)
    for _ in range(2000):
        content = bytearray(whole[: rng.integers(0, len(whole) + 1)])
        for place in rng.integers(0, max(1, len(content)), rng.integers(0, 20)):
            if content:
                content[place] = rng.integers(256)
        assert csa.values(bytes(content), WANTED).keys() <= WANTED
    assert csa.values(b"", WANTED) == csa.values(None, WANTED) == csa.values("text", WANTED) == {}
    assert csa.values(b"SV10" + b"\xff" * 5000, WANTED) == {}
