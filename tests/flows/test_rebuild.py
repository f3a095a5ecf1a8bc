"""`python -m flows.rebuild` over a small project whose stages have the product's names."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from flows import versions
from pipeline.files import write_csv
from tests.flows import releases, versioned
from tests.flows.releases import NAME
from tests.flows.versioned import Project

pytestmark = pytest.mark.acceptance

#: The stages copy what a training would have made; `finetune` writes down that it ran, and with which cache.
STEP = """
import json, shutil, sys
from pathlib import Path
import yaml

made, name = Path("MATERIAL"), sys.argv[1]
if name == "ingest":
    shutil.copytree(made / "ingested", "data/ingested")
if name == "backbone":
    Path("models/backbone").mkdir(parents=True)
    Path("models/backbone/card.json").write_text("{}")
if name == "split":
    shutil.copy(made / "split.csv", "data/split.csv")
if name == "prepare":
    Path("data/prepared").write_text(Path("data/ingested/labels.csv").read_text())
if name == "finetune":
    with open(made / "ran.txt", "a") as ran:
        ran.write(f"{yaml.safe_load(Path('params.yaml').read_text())['cache_dir']}\\n")
    shutil.copytree(made / "finetuned", "models/finetuned")
if name == "calibrate":
    shutil.copy(made / "calibration.json", "models/calibration.json")
if name == "export":
    shutil.copytree(made / "export", "models/export")
if name == "release":
    shutil.copytree(made / "release", "models/release")
"""
DAG = """
stages:
  ingest: {cmd: exec python step.py ingest, outs: [data/ingested]}
  backbone: {cmd: exec python step.py backbone, outs: [models/backbone]}
  split: {cmd: exec python step.py split, deps: [data/ingested], outs: [data/split.csv]}
  prepare: {cmd: exec python step.py prepare, deps: [data/ingested, data/split.csv], outs: [data/prepared]}
  finetune: {cmd: exec python step.py finetune, deps: [data/prepared, models/backbone], outs: [models/finetuned]}
  calibrate: {cmd: exec python step.py calibrate, deps: [models/finetuned], outs: [models/calibration.json]}
  export: {cmd: exec python step.py export, deps: [models/finetuned, models/calibration.json], outs: [models/export]}
  release: {cmd: exec python step.py release, deps: [models/export], outs: [models/release]}
"""
TAG = f"{NAME}@v1.0.0"


@pytest.fixture(scope="module")
def made(root: Path, tmp_path_factory: pytest.TempPathFactory) -> Project:
    """One version, tagged; what its stages make lies in `material`."""
    folder = tmp_path_factory.mktemp("rebuilt")
    material, graphs = folder / "material", tmp_path_factory.getbasetemp() / "graphs"
    releases.ingested(material / "ingested", 4)
    releases.split(material / "split.csv", 4)
    releases.write(root, graphs, material / "release", "good", "1.0.0")
    releases.write_parts(graphs, material, "good")
    project = versioned.make(root, folder / "project", STEP.replace("MATERIAL", str(material)), DAG)
    project.write(".gitignore", versioned.IGNORED + "/data/*\n!/data/withdrawn.csv\n")
    project("dvc", "repro", "--quiet")
    versions.tag(project.folder, project.commit("A run"), NAME, "1.0.0")
    (material / "ran.txt").unlink()
    return project


def _rebuild(project: Project) -> tuple[int, str]:
    command = [sys.executable, "-m", "flows.rebuild", TAG, "--repository", str(project.folder)]
    environment = {**os.environ, "DVC_NO_ANALYTICS": "1"}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    return done.returncode, done.stdout + done.stderr


def test_same_again_although_dvc_knows_the_result_already(made: Project) -> None:
    ran = made.folder.parent / "material/ran.txt"
    status, said = _rebuild(made)
    assert status == 0, said
    assert f"rebuild: {TAG} is the same again" in said
    [cache] = ran.read_text().split()
    assert cache not in ("None", "null")
    assert not Path(cache).exists()


def test_other_weights_are_told_with_what_they_change(made: Project, root: Path) -> None:
    material = made.folder.parent / "material"
    releases.write_parts(material.parent.parent / "graphs", material, "better")
    try:
        status, said = _rebuild(made)
    finally:
        releases.write_parts(material.parent.parent / "graphs", material, "good")
    assert status == 1, said
    assert "split: the same" in said
    assert "weights: released" in said
    assert "graph: released" in said
    assert "off at most" in said
    assert f"{TAG} came out otherwise" in said


def test_version_of_a_withdrawn_patient_is_refused(made: Project) -> None:
    listed = made.folder / "models/releases/withdrawn.csv"
    row = {"name": NAME, "version": "1.0.0", "dvc_md5": "", "patient": releases.patient(1)}
    write_csv(listed, row, [row])
    status, said = _rebuild(made)
    listed.unlink()
    assert status == 2, said
    assert "found 1 of them withdrawn since" in said
    assert releases.patient(1) not in said
