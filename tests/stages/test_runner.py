"""What every stage shares: exit status, error file, clock, dying with its parent."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.waiting import within

STAGE = """
import errno, resource, sys, time
from pathlib import Path
from pipeline.errors import LabelError
from pipeline.stages import runner

def work(params):
    Path("ran").write_text(str(params.seed))
    {body}

runner.run("ingest", work)
"""


@pytest.fixture
def project(root: Path, tmp_path: Path) -> Path:
    (tmp_path / "params.yaml").write_bytes((root / "params.yaml").read_bytes())
    return tmp_path


def _stage(project: Path, body: str = "pass") -> subprocess.CompletedProcess[str]:
    code = STAGE.format(body=body)
    return subprocess.run([sys.executable, "-c", code], cwd=project, capture_output=True, text=True, check=False)


def _record(project: Path) -> dict[str, object]:
    return dict(json.loads((project / ".stage-errors/ingest.json").read_text()))


def test_stage_that_ends_well_leaves_its_seconds_and_no_error(project: Path) -> None:
    (project / ".stage-errors").mkdir()
    (project / ".stage-errors/ingest.json").write_text("{}")
    done = _stage(project, "time.sleep(0.2)")
    assert done.returncode == 0
    seconds = json.loads((project / "reports/times/ingest.json").read_text())["seconds"]
    assert seconds >= 0.2
    assert re.search(r"^ingest: done in \d+\.\d s$", done.stderr, re.MULTILINE)
    assert not (project / ".stage-errors/ingest.json").exists()


def test_what_a_stage_records_stands_beside_its_seconds(project: Path) -> None:
    code = STAGE.format(body="pass").replace(", work)", ', work, lambda: {"machine": "a kind"})')
    subprocess.run([sys.executable, "-c", code], cwd=project, capture_output=True, check=True)
    assert json.loads((project / "reports/times/ingest.json").read_text())["machine"] == "a kind"


def test_of_several_processes_the_first_records(project: Path) -> None:
    code = STAGE.format(body="pass").replace(", work)", ", work, lambda: 1 / 0)")
    subprocess.run([sys.executable, "-c", code], cwd=project, env=os.environ | {"RANK": "1"}, check=True)
    assert not (project / "reports/times/ingest.json").exists()


def test_error_goes_to_stderr_and_to_its_file_without_a_traceback(project: Path) -> None:
    done = _stage(project, 'raise LabelError("two classes", "one", "Label both.")')
    assert done.returncode == 1
    assert done.stderr == "ingest: LabelError: expected two classes; found one. Label both.\n"
    assert _record(project) == {
        "stage": "ingest",
        "class": "LabelError",
        "message": "expected two classes; found one. Label both.",
        "retryable": False,
    }
    assert not (project / "reports").exists()


def test_an_answer_leaves_no_file_and_an_error_no_traceback(project: Path) -> None:
    ask = STAGE.replace('runner.run("ingest", work)', 'runner.answer("ask", work)')
    before = sorted(project.iterdir())
    for body, code, said in (
        ("print(params.seed)", 0, ""),
        ('raise LabelError("a", "b", "C.")', 1, "ask: LabelError: expected a; found b. C.\n"),
    ):
        text = ask.format(body=body).replace('Path("ran").write_text(str(params.seed))', "")
        done = subprocess.run([sys.executable, "-c", text], cwd=project, capture_output=True, text=True, check=False)
        assert (done.returncode, done.stderr) == (code, said)
    assert sorted(project.iterdir()) == before


def test_disk_that_fills_up_is_a_retryable_error(project: Path) -> None:
    done = _stage(
        project, 'resource.setrlimit(resource.RLIMIT_FSIZE, (512, 512)); Path("big").write_bytes(bytes(9999))'
    )
    assert done.returncode == 1
    record = _record(project)
    assert (record["class"], record["retryable"]) == ("StorageError", True)
    assert "Free some space there" in str(record["message"])


def test_unknown_key_stops_the_stage_before_it_works(project: Path) -> None:
    with (project / "params.yaml").open("a") as handle:
        handle.write("ingset: {}\n")
    done = _stage(project)
    assert done.returncode == 1
    assert "unknown key 'ingset'. Did you mean 'ingest'?" in done.stderr
    assert _record(project)["class"] == "ConfigError"
    assert not (project / "ran").exists()


def test_defect_keeps_its_traceback(project: Path) -> None:
    done = _stage(project, "1 / 0")
    assert done.returncode == 1
    assert "ZeroDivisionError" in done.stderr
    assert not (project / ".stage-errors/ingest.json").exists()


def test_stage_dies_with_its_parent(project: Path) -> None:
    (project / "stage.py").write_text(
        STAGE.format(body='import os; Path("pid").write_text(str(os.getpid())); time.sleep(99)')
    )
    code = f"import subprocess; subprocess.run([{sys.executable!r}, 'stage.py'])"
    parent = subprocess.Popen([sys.executable, "-c", code], cwd=project)
    pid = project / "pid"
    assert within(20, lambda: pid.exists() and pid.read_text() != "")
    stage = Path(f"/proc/{pid.read_text()}/cmdline")
    assert stage.read_bytes()
    parent.kill()
    parent.wait()
    assert within(10, lambda: not stage.exists() or not stage.read_bytes())
