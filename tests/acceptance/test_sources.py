"""Scans of one's own under DVC: what changes in their folder makes ingest run again, and nothing else does."""

from __future__ import annotations

import csv
import re
from pathlib import Path
from typing import Any

import pytest

from flows import repro
from pipeline.files import read_csv
from tests.benchmarks import sources as benchmark

pytestmark = pytest.mark.acceptance

SOURCES = "data/own/dvc.yaml:sources"


@pytest.fixture(scope="module")
def own(clone: Any, builder: Any, tmp_path_factory: pytest.TempPathFactory) -> Any:
    """The clone with two studies of its own, outside of it, after `dvc repro ingest`."""
    folder = tmp_path_factory.mktemp("own")
    project = clone.copy(folder)
    for name in ("one", "two"):
        _study(project, builder, name)
    rows = [{"PatientID": f"MRN-{name}", "label": int(name == "one")} for name in ("one", "two", "three")]
    with open(folder / "labels.csv", "w", newline="") as handle:
        writer = csv.DictWriter(handle, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)
    project.environment["XDG_CONFIG_HOME"] = str(folder / "config")
    paths = [f"data.dicom_dir={folder / 'scans'}", f"data.labels={folder / 'labels.csv'}"]
    project.set(*paths, "data.label_level=patient")
    assert _ran(project) == [SOURCES, "ingest"]
    return project


def _study(project: Any, builder: Any, name: str) -> Path:
    scans: Path = builder.save(
        builder.classic(name, 9, patient=f"MRN-{name}"), project.folder.parent / "scans" / f"DOE^{name}"
    )
    return scans


def _ran(project: Any) -> list[str]:
    """Stages that `dvc repro ingest` runs."""
    return re.findall(r"^Running stage '(.+)'", project.run("dvc", "repro", "ingest"), re.MULTILINE)


def _patients(project: Any) -> int:
    return len({row["patient"] for row in read_csv(project.folder / "data/ingested/index.csv")})


def test_only_new_contents_make_ingest_run(own: Any, builder: Any) -> None:
    assert _ran(own) == [SOURCES]
    lock = (own.folder / "data/own/dvc.lock").read_bytes()
    for path in (own.folder.parent / "scans").rglob("*.*"):
        path.touch()
    assert _ran(own) == [SOURCES]
    assert (own.folder / "data/own/dvc.lock").read_bytes() == lock
    _study(own, builder, "three")
    assert _ran(own) == [SOURCES, "ingest"]
    assert _patients(own) == 3


def test_no_name_of_a_file_reaches_what_dvc_tracks(own: Any) -> None:
    manifests = [*(own.folder / "data/sources").rglob("sources.json")]
    assert manifests
    tracked = [*manifests, *own.folder.glob("**/dvc.lock")]
    assert [path for path in tracked if "DOE" in path.read_text()] == []
    assert "data/sources" not in own.run("git", "status", "--short")


def test_a_withdrawn_patient_is_refused_though_the_scans_are_the_same(own: Any) -> None:
    before = _patients(own)
    own.run("python", "-m", "pipeline.erase", "MRN-two")
    assert _ran(own) == [SOURCES, "ingest"]
    assert _patients(own) == before - 1


def test_the_flow_runs_it_first(own: Any, clone: Any) -> None:
    assert repro.order(own.folder)[:3] == ["backbone", SOURCES, "ingest"]
    assert not [stage for stage in repro.order(clone.folder) if "sources" in stage]
    said: list[str] = []
    repro.reproduce(own.folder, SOURCES, said.append)
    assert f"Running stage '{SOURCES}':" in said


def test_the_benchmark_runs(tmp_path: Path) -> None:
    figures = benchmark.measure(tmp_path, 300, repeats=1)
    assert figures["files"] == 300
    assert figures["nothing_new_s"] < 20
