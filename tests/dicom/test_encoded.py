"""Headers come back from their text as they were."""

from __future__ import annotations

from dataclasses import is_dataclass
from pathlib import Path

from pipeline.dicom.encoded import dumps, loads
from pipeline.dicom.header import Instance, find_files, read_headers


def _check(paths: list[Path]) -> int:
    pixels = 0
    for path in paths:
        headers = read_headers([path])
        again = loads(dumps(headers), path)
        assert again == headers
        # Equality asks neither for the place of the pixels nor for types.
        assert [_described(header) for header in again] == [_described(header) for header in headers]
        pixels += sum(isinstance(header, Instance) and header.pixels is not None for header in headers)
    return pixels


def _described(value: object) -> str:
    """With all types and fields; the order of a set, which is of no meaning, is that of its texts."""
    if isinstance(value, frozenset):
        return f"frozenset{sorted(map(_described, value))}"
    if is_dataclass(value):
        return f"{type(value).__name__}{[(name, _described(each)) for name, each in vars(value).items()]}"
    if isinstance(value, tuple):
        return f"{type(value).__name__}{[_described(each) for each in value]}"
    return repr(value)


def test_every_kind_of_file(builder, tmp_path):
    builder.save(builder.classic("one", 2, Manufacturer="GE MEDICAL SYSTEMS", PatientID="Ünï\udcff"[:3]), tmp_path)
    builder.save([builder.enhanced("two"), builder.mosaic("three")], tmp_path)
    (tmp_path / "text").write_text("none")
    # The parser reads the other two, whose PatientID is not ASCII.
    assert _check(find_files(tmp_path)) == 2


def test_scanners_own_files(shared):
    paths = find_files(shared / "data/dicom")[::17]
    assert len(paths) > 20
    _check(paths)


def test_a_file_that_moved_has_its_new_path(builder, tmp_path):
    [path] = find_files(builder.save(builder.classic("one", 1), tmp_path / "a"))
    [found] = loads(dumps(read_headers([path])), tmp_path / "b")
    assert found.path == tmp_path / "b"
