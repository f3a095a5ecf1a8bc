from __future__ import annotations

import numpy as np
import pytest

from pipeline.dicom.header import read_headers
from pipeline.dicom.reasons import Rejection


@pytest.mark.parametrize(
    "content",
    [b"", b"\x08", b"plain text", b"\x08\x00", b"\x08\x00" * 500, bytes(128) + b"DICM"],
    ids=["empty", "one byte", "text", "two bytes", "groups alone", "preamble alone"],
)
def test_file_that_is_not_dicom(tmp_path, content):
    (tmp_path / "x").write_bytes(content)
    [found] = read_headers([tmp_path / "x"])
    assert found == Rejection(str(tmp_path / "x"), "not_dicom")


def test_file_that_is_gone(tmp_path):
    assert read_headers([tmp_path / "x"]) == [Rejection(str(tmp_path / "x"), "unreadable_file")]


def test_damaged_bytes_are_refused_and_raise_nothing(builder, read, tmp_path):
    """Whatever a bad disk or transfer does, the rest of the folder is still read."""
    rng = np.random.default_rng(20240817)
    sources = [
        builder.save(builder.classic(slices=2), tmp_path / "c"),
        builder.save([builder.enhanced()], tmp_path / "e"),
    ]
    originals = [path.read_bytes() for folder in sources for path in sorted(folder.iterdir())]
    folder = tmp_path / "damaged"
    folder.mkdir()
    for number in range(150):
        content = bytearray(originals[number % len(originals)])
        for place in rng.integers(0, min(len(content), 2500), 1 + number % 20):
            content[place] = rng.integers(256)
        (folder / str(number)).write_bytes(content[: rng.integers(1, len(content))] if number % 3 == 0 else content)
    builder.save(builder.classic("whole"), folder)
    scans, rejections = read(folder)
    assert builder.uid("whole", "series") in {scan.series_uid for scan in scans}
    assert {"not_dicom"} < {rejection.reason for rejection in rejections}


def test_private_and_personal_elements_are_not_kept(builder, tmp_path):
    builder.save(builder.classic(slices=1), tmp_path)
    [instance] = read_headers(list(tmp_path.iterdir()))
    kept = str(vars(instance))
    assert builder.IDENTIFIERS[1] in kept
    for secret in ("DOE", "19470309", "20210617", "Elsewhere"):
        assert secret not in kept
