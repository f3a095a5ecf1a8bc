"""Hostile files, in the short form of `python -m tests.benchmarks.hostile`."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from tests.benchmarks.hostile_files import damaged, whole


@pytest.mark.parametrize("name", whole())
def test_files_are_sound_before_they_are_damaged(builder, read, tmp_path: Path, name: str) -> None:
    builder.save(builder.classic(slices=2)[:1], tmp_path)
    (tmp_path / "x").write_bytes(whole()[name])
    scans, _ = read(tmp_path)
    assert len(scans) == 1


def test_a_case_is_the_same_again() -> None:
    files, again = whole(), whole()
    assert [damaged(number, files) for number in range(60)] == [damaged(number, again) for number in range(60)]


def test_every_hostile_file_ends_accepted_or_refused(root: Path) -> None:
    command = [sys.executable, "-m", "tests.benchmarks.hostile", "--cases", "400"]
    done = subprocess.run(command, cwd=root, capture_output=True, text=True)
    found = json.loads(done.stdout)
    assert (done.returncode, found["failed"]) == (0, {}), done.stderr
    assert sum(found["ends"].values()) == found["cases"] > 400
    assert {"accepted", "not_dicom", "unreadable_pixels", "unreadable_archive", "too_large"} <= set(found["ends"])
