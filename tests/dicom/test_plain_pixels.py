"""Pixels by their place in the file: only of one that has not changed, and only where they are ordinary."""

from __future__ import annotations

import os

import pytest

from pipeline.dicom import header
from pipeline.dicom.header import Instance
from pipeline.dicom.plain_pixels import Reader
from pipeline.dicom.scan import _decode


def test_pixels_of_a_file_that_changed_are_not_read_by_the_old_header(builder, tmp_path):
    [path] = builder.save(builder.classic(slices=1), tmp_path).iterdir()
    instance = header._read_plainly(path)
    assert isinstance(instance, Instance)
    assert instance.pixels is not None
    assert Reader().read(path, instance.pixels) is not None
    os.utime(path, ns=(0, instance.pixels.modified_ns + 1))
    assert Reader().read(path, instance.pixels) is None
    path.write_bytes(path.read_bytes()[:-2])
    assert Reader().read(path, instance.pixels) is None
    with pytest.raises(ValueError, match="number of bytes|bytes"):
        _decode(instance, Reader())


def test_pixels_are_left_where_anything_but_padding_follows(builder, tmp_path):
    series = builder.classic(slices=2)
    series[0].add_new(0xFFFCFFFC, "OB", bytes(10))
    for path in builder.save(series, tmp_path).iterdir():
        [fast] = header.read_headers([path])
        assert isinstance(fast, Instance)
        assert Reader().read(path, fast.pixels) is not None
    path.write_bytes(path.read_bytes() + b"more")
    [fast] = header.read_headers([path])
    assert Reader().read(path, fast.pixels) is None


@pytest.mark.parametrize(
    "change", [{"BitsAllocated": 32}, {"BitsStored": 17}, {"Rows": 33}, {"PixelRepresentation": 2}]
)
def test_unusual_pixels_are_left_to_the_parser(builder, tmp_path, change):
    [path] = builder.save(builder.classic(slices=1, **change), tmp_path).iterdir()
    fast = header._read_plainly(path)
    assert isinstance(fast, Instance)
    assert fast.pixels is None


def test_length_beyond_the_file_takes_no_memory(builder, tmp_path):
    """Four GiB of pixels are claimed, and three bytes are there."""
    [path] = builder.save(builder.classic(slices=1, Rows=65535, Columns=32768), tmp_path).iterdir()
    content = path.read_bytes()
    start = content.index(b"\xe0\x7f\x10\x00OW")
    path.write_bytes(content[: start + 8] + (65535 * 32768 * 2).to_bytes(4, "little") + b"abc")
    found = header._read_plainly(path)
    assert isinstance(found, Instance)
    assert found.pixels is None
