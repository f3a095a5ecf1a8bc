"""Reports as files."""

from __future__ import annotations

from pathlib import Path

import pytest

from pipeline.errors import DataError
from pipeline.monitoring import reports
from tests import observed

SOME = observed.reported(observed.studies(30, 0))


def _write(folder: Path) -> list[Path]:
    for report in SOME:
        reports.append(folder, report)
    return sorted(folder.iterdir())


def test_what_was_appended_is_read_in_order_from_a_file_a_day(tmp_path: Path) -> None:
    files = _write(tmp_path / "box")
    assert [path.name for path in files] == ["2026-03-01.jsonl", "2026-03-02.jsonl"]
    assert reports.read(tmp_path / "box") == SOME


def test_a_torn_last_line_is_left_out_and_the_next_report_takes_its_place(tmp_path: Path) -> None:
    last = _write(tmp_path)[-1]
    whole = last.read_bytes()
    last.write_bytes(whole[:-100])
    assert reports.read(tmp_path) == SOME[:-1]
    reports.append(tmp_path, SOME[-1])
    assert last.read_bytes() == whole
    last.write_bytes(whole + b"torn" * 50_000)
    reports.append(tmp_path, SOME[-1])
    assert last.read_bytes() == whole + whole.splitlines(keepends=True)[-1]
    last.write_bytes(b"torn")
    reports.append(tmp_path, SOME[-1])
    assert last.read_bytes() == whole.splitlines(keepends=True)[-1]


def test_a_line_that_is_no_report_is_named_and_not_quoted(tmp_path: Path) -> None:
    first = _write(tmp_path)[0]
    lines = first.read_text().splitlines(keepends=True)
    lines[3] = lines[3].replace('"series":1', '"series":1,"PatientName":"Doe^Jane","Doe":1')
    first.write_text("".join(lines))
    with pytest.raises(DataError, match=r"line 4 of .*2026-03-01\.jsonl; found the whole: Extra inputs") as caught:
        reports.read(tmp_path)
    assert "Doe" not in str(caught.value)
    lines[3] = "Doe^Jane\n"
    first.write_text("".join(lines))
    with pytest.raises(DataError, match=r"line 4 .*Invalid JSON") as caught:
        reports.read(tmp_path)
    assert "Doe" not in str(caught.value)


def test_other_files_are_not_reports_and_a_missing_folder_is_said(tmp_path: Path) -> None:
    _write(tmp_path)
    (tmp_path / "drift.json").write_text("{}")
    assert reports.read(tmp_path) == SOME
    with pytest.raises(DataError, match="Name the folder"):
        reports.read(tmp_path / "nowhere")
