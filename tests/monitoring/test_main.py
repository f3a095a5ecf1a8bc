"""The commands: simulated reports, and what is said of them."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from pipeline.files import read_json, sha256_file
from pipeline.monitoring import __main__ as command
from pipeline.monitoring import reports, simulate
from pipeline.monitoring.reference import read, scored
from tests import observed


@pytest.fixture(scope="session")
def release(make_release: Any, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_release(tmp_path_factory.mktemp("release") / "release", drawn=True)


def _simulated(release: Path, folder: Path, *options: str) -> Path:
    assert simulate.main([str(release), str(folder), "--studies", "300", "--after", "100", *options]) == 0
    return folder


def test_without_a_shift_there_is_no_alarm(release: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = _simulated(release, tmp_path / "box")
    assert command.main([str(release), str(folder)]) == 0
    said = capsys.readouterr().out
    assert said.startswith("# No drift: ")
    assert "- 300 studies, 2026-01-01T00:00:00+00:00 to 2026-01-13T11:00:00+00:00" in said
    assert "compared with 84 studies of validation and test patients" in said


@pytest.mark.parametrize("shift", [shift for shift in simulate.SHIFTS if shift != "none"])
def test_a_simulated_shift_is_an_alarm_with_the_time_it_began_and_what_to_do(
    shift: str, release: Path, tmp_path: Path
) -> None:
    folder = _simulated(release, tmp_path / "box", "--shift", shift)
    assert command.main([str(release), str(folder), "--out", str(tmp_path / "out")]) == 3
    found = read_json(tmp_path / "out/drift.json")
    monitor = {"prevalence": "output"}.get(shift, shift)
    (alarms,) = (one["alarms"] for one in found["monitors"] if one["monitor"] == monitor)
    assert 100 < alarms[0]["study"] <= 300
    assert 60 <= alarms[0]["since_study"] <= alarms[0]["study"]
    text = (tmp_path / "out/drift.md").read_text()
    assert text.startswith("# Drift: ")
    assert f"- **{monitor}**, " in text
    assert "What to do: " in text


def test_reports_of_other_releases_are_left_out_and_alone_say_nothing_of_drift(
    release: Path, tmp_path: Path, capsys: Any
) -> None:
    for report in observed.reported(observed.studies(40, 0, manufacturer="Canon")):
        reports.append(tmp_path, report)
    assert command.main([str(release), str(tmp_path)]) == 1
    said = capsys.readouterr().err
    assert f"a report of mri-transfer-demo 0.1.0 in {tmp_path}; found 40 of other releases. Name the release" in said
    for report in observed.reported(observed.studies(5, 0), sha256_file(release / "SHA256SUMS")):
        reports.append(tmp_path, report)
    assert command.main([str(release), str(tmp_path)]) == 0
    assert "- 40 reports of other releases, left out" in capsys.readouterr().out


def test_folder_in_which_nothing_was_reported_says_nothing_of_drift(release: Path, tmp_path: Path, capsys: Any) -> None:
    assert command.main([str(release), str(tmp_path)]) == 1
    assert "found no report at all" in capsys.readouterr().err


def test_what_cannot_be_used_ends_with_the_reason(release: Path, tmp_path: Path, capsys: Any) -> None:
    assert command.main([str(release), str(tmp_path / "nowhere")]) == 1
    assert "a folder of reports" in capsys.readouterr().err
    assert command.main([str(tmp_path), str(tmp_path)]) == 1
    assert "SHA256SUMS" in capsys.readouterr().err


def test_it_runs_where_only_the_base_install_is(release: Path, tmp_path: Path) -> None:
    code = (
        "import runpy, sys; sys.modules.update(dict.fromkeys(['torch', 'sklearn', 'nibabel', 'prefect', 'dvc'])); "
        "runpy.run_module('pipeline.monitoring', run_name='__main__', alter_sys=True)"
    )
    folder = _simulated(release, tmp_path / "box")
    done = subprocess.run(
        [sys.executable, "-c", code, str(release), str(folder)], capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert re.search(r"^\| output \| logit \|", done.stdout, re.MULTILINE)


def test_simulated_reports_score_as_the_studies_that_they_were_drawn_from(release: Path, tmp_path: Path) -> None:
    known = read(release / "reference.npz")
    drawn = list(simulate.stream(known, sha256_file(release / "SHA256SUMS"), 50, seed=1))
    found = scored(drawn, known.shape)
    for place in range(50):
        (row,) = (known.studies.probabilities == found.probabilities[place]).all(axis=1).nonzero()[0]
        for name, value in vars(known.studies).items():
            ours = getattr(found, name)[place]
            if value.dtype.kind == "f":
                assert ours == pytest.approx(value[row]), name
            else:
                assert np.array_equal(ours, value[row]), name
