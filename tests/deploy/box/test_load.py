"""`python -m tests.acceptance.box_load` in short: what is sent comes back once, and the figures are there."""

from __future__ import annotations

import argparse
from pathlib import Path

import pytest

from tests.acceptance import box_load
from tests.deploy.box.orthanc import needed
from tests.inference.conftest import Maker, SeriesWriter

pytestmark = [pytest.mark.acceptance, needed]


def test_what_is_sent_under_load_comes_back_once(
    make_release: Maker, write_series: SeriesWriter, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for number in (1, 2):
        write_series(tmp_path / "scans" / f"{number}", number)
    asked = argparse.Namespace(search_s=3.0, hold_s=6.0, share=0.5, quiet_s=1.0)
    asked.release, asked.scans = make_release(tmp_path / "release"), tmp_path / "scans"
    (tmp_path / "box").mkdir()
    assert box_load.measured(tmp_path / "box", asked), capsys.readouterr().out
    said = capsys.readouterr().out
    assert "the most: " in said
    assert "50% of it for 6 s: " in said
    assert "each has one report and one summary: True" in said
