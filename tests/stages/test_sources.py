"""Stage `sources` as a program: a manifest without names where ingest expects it, or an error that says what to do."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import yaml

Run = Callable[[], subprocess.CompletedProcess[str]]


@pytest.fixture
def scans(tmp_path: Path) -> Path:
    (tmp_path / "scans/DOE^JANE").mkdir(parents=True)
    (tmp_path / "scans/DOE^JANE/canary-7.dcm").write_bytes(b"canary-8")
    return tmp_path / "scans"


@pytest.fixture
def run(root: Path, scans: Path, tmp_path: Path) -> Run:
    """The stage in the folder `project`, without DVC."""
    project = tmp_path / "project"
    project.mkdir()
    params = yaml.safe_load((root / "params.yaml").read_text())
    params["data"].update(dicom_dir=str(scans), labels=None)
    (project / "params.yaml").write_text(yaml.safe_dump(params))
    environment = os.environ | {"PYTHONPATH": str(root), "XDG_CACHE_HOME": str(tmp_path / "cache")}
    command = [sys.executable, "-m", "pipeline.stages.sources"]
    return lambda: subprocess.run(
        command, cwd=project, env=environment, capture_output=True, text=True, check=False, timeout=60
    )


def test_the_manifest_is_written_and_holds_no_name(run: Run, scans: Path, tmp_path: Path) -> None:
    said = [run().stderr, run().stderr]
    project = tmp_path / "project"
    out = project / f"data/sources/of-{scans}/sources.json"
    assert json.loads(out.read_text()) | {"sha256": ""} == {"files": 1, "bytes": 8, "sha256": ""}
    files = [path for folder in (project, tmp_path / "cache") for path in folder.rglob("*") if path.is_file()]
    everything = "".join(said).encode() + b"".join(path.name.encode() + path.read_bytes() for path in files)
    assert b'"sha256"' in everything
    assert [word for word in (b"canary", b"DOE", b"JANE") if word in everything] == []


def test_a_missing_folder_is_an_error_of_the_tree(run: Run, scans: Path, tmp_path: Path) -> None:
    scans.rename(tmp_path / "moved")
    done = run()
    assert done.returncode == 1
    assert "sources: DicomError: expected a folder of DICOM at" in done.stderr
    error = json.loads((tmp_path / "project/.stage-errors/sources.json").read_text())
    assert error["class"] == "DicomError"
