"""`python -m pipeline.erase` in a small project with DVC and git: ingest, split, a report, a model and its release."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from pipeline import dvc_history
from pipeline.dicom.pseudonym import Pseudonyms
from pipeline.files import read_csv

KEY = "11" * 32
PATIENT = Pseudonyms(bytes.fromhex(KEY)).patient("MRN-one")
COPY = 'python -c "import pathlib, sys; pathlib.Path(sys.argv[2]).write_bytes(pathlib.Path(sys.argv[1]).read_bytes())"'


@pytest.fixture
def project(root: Path, builder: Any, tmp_path: Path) -> Any:
    """Run a command in the project; two runs of its DAG stand in git, the first one without the patient."""
    folder = tmp_path / "project"
    folder.mkdir()
    scans = tmp_path / "scans"
    for name in ("two", "three"):
        builder.save(builder.classic(name, 9, patient=f"MRN-{name}"), scans / name)
    (tmp_path / "config/mri-transfer").mkdir(parents=True)
    key = tmp_path / "config/mri-transfer/pseudonym.key"
    key.write_text(KEY)
    key.chmod(0o600)
    names = ("GIT_AUTHOR", "GIT_COMMITTER")
    environment = {
        **os.environ,
        **{f"{name}_{what}": "a@b.invalid" for name in names for what in ("NAME", "EMAIL")},
        "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
        "PYTHONPATH": str(root),
        "DVC_NO_ANALYTICS": "1",
        "XDG_CONFIG_HOME": str(tmp_path / "config"),
        "XDG_CACHE_HOME": str(tmp_path / "cache"),
    }

    def run(*command: str, stdin: str = "") -> str:
        done = subprocess.run(command, cwd=folder, env=environment, input=stdin, capture_output=True, text=True)
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout + done.stderr

    params = yaml.safe_load((root / "params.yaml").read_text())
    params["data"].update(dicom_dir=str(scans), labels=None)
    params["ingest"].update(contrasts=["FLAIR"], workers=1)
    (folder / "params.yaml").write_text(yaml.safe_dump(params))
    (folder / "data").mkdir()
    (folder / "data/withdrawn.csv").write_text("patient\n")
    manifest = json.dumps({"name": "small", "version": "1.0.0"})
    (folder / "manifest.py").write_text(
        "import pathlib\nout = pathlib.Path('models/release')\nout.mkdir(parents=True)\n"
        f"(out / 'manifest.json').write_text({manifest!r})\n"
        "(out / 'model.onnx').write_bytes(pathlib.Path('models/model').read_bytes()[::-1])\n"
    )
    stages = {
        "ingest": ("python -m pipeline.stages.ingest", [str(scans), "data/withdrawn.csv"], "data/ingested"),
        "split": (
            "(cat data/ingested/index.csv; echo 1) > data/split.csv",
            ["data/ingested/index.csv"],
            "data/split.csv",
        ),
        "report": ("mkdir reports; (cat data/split.csv; echo 2) > reports/a", ["data/split.csv"], "reports/a"),
        "model": ("mkdir -p models; sha256sum data/split.csv > models/model", ["data/split.csv"], "models/model"),
        "release": ("python manifest.py", ["models/model"], "models/release"),
    }
    dag = {name: {"cmd": cmd, "deps": deps, "outs": [out]} for name, (cmd, deps, out) in stages.items()}
    (folder / "dvc.yaml").write_text(yaml.safe_dump({"stages": dag}))
    (folder / ".gitignore").write_text("/reports\n")
    for command in (
        ["git", "init", "-q"],
        ["dvc", "init", "-q"],
        ["dvc", "remote", "add", "-q", "-d", "here", str(tmp_path / "remote")],
    ):
        run(*command)
    (tmp_path / "remote").mkdir()
    for name in ("", "one"):
        if name:
            builder.save(builder.classic(name, 9, patient=f"MRN-{name}"), scans / name)
        run("dvc", "repro", "-q")
        run("git", "add", "dvc.lock", "dvc.yaml", "data/withdrawn.csv")
        run("git", "commit", "-qm", "a run")
        run("dvc", "push", "-q")
    run.folder = folder  # type: ignore[attr-defined]
    return run


def _holding(folder: Path, word: str = PATIENT) -> set[str]:
    """Files that hold a word, by the first part of their path."""
    skipped = {".git", "models"}
    paths = [
        path for path in folder.rglob("*") if path.is_file() and not skipped & {*path.relative_to(folder).parts[:2]}
    ]
    return {path.relative_to(folder).as_posix() for path in paths if word.encode() in path.read_bytes()}


def test_patient_leaves_every_store(project: Any, tmp_path: Path) -> None:
    folder = project.folder
    said = project("python", "-m", "pipeline.erase", "nobody")
    assert "nothing here held this patient" in said
    assert "nobody" not in said
    [series] = [row["series"] for row in read_csv(folder / "data/ingested/index.csv") if row["patient"] == PATIENT]
    volume = (folder / f"data/ingested/volumes/{series}.nii.gz").read_bytes()
    first = yaml.safe_load(project("git", "show", "HEAD~1:dvc.lock"))["stages"]["ingest"]["outs"][0]["md5"]
    report = tmp_path / "cache/mri-transfer/reports/a-run.html"
    report.parent.mkdir(exist_ok=True)
    report.write_text(f"a slice of {PATIENT}")
    for kind in ("features/key.npy", "checkpoints/finetuned-1/recordings-1/0.npy"):
        made = tmp_path / "cache/mri-transfer" / kind
        made.parent.mkdir(parents=True, exist_ok=True)
        made.write_text(f"activations of {PATIENT}")
    assert len(_holding(tmp_path)) > 5
    said = project("python", "-m", "pipeline.erase", "-", stdin="MRN-one\n")
    assert "MRN-one" not in said
    assert "1 volumes removed from ingest's memory" in said
    assert _holding(tmp_path) == {"project/data/withdrawn.csv"}
    assert volume not in [path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()]
    [release] = read_csv(folder / "models/releases/withdrawn.csv")
    assert (release["name"], release["version"], release["patient"]) == ("small", "1.0.0", PATIENT)
    # The run before the patient came is whole.
    listing = folder / f".dvc/cache/files/md5/{first[:2]}/{first[2:]}"
    objects = [each["md5"] for each in json.loads(listing.read_text())]
    assert all((listing.parent.parent / md5[:2] / md5[2:]).is_file() for md5 in objects)
    _next_run_refuses_the_scans_that_are_still_there(project, tmp_path)


def _next_run_refuses_the_scans_that_are_still_there(project: Any, tmp_path: Path) -> None:
    project("dvc", "repro", "-q", "report")
    rejected = read_csv(project.folder / "data/ingested/rejected.csv")
    assert [row["reason"] for row in rejected] == ["withdrawn"]
    assert len(read_csv(project.folder / "data/ingested/index.csv")) == 2
    assert "project/data/ingested/index.csv" not in _holding(tmp_path)
    again = project("python", "-m", "pipeline.erase", PATIENT)
    assert "was already in data/withdrawn.csv" in again
    assert len(read_csv(project.folder / "models/releases/withdrawn.csv")) == 1


def test_erase_that_was_stopped_finds_the_rest_again(project: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(project.folder)
    cache = Path(".dvc/cache")
    trace = dvc_history.trace(PATIENT, cache)
    order = trace.in_order()
    assert {*order} == trace.objects
    assert len(order) > len(trace.roots)
    for number, md5 in enumerate(order[: -len(trace.roots)], start=1):
        dvc_history.place(md5, cache).unlink()
        assert {*order[number:]} <= dvc_history.trace(PATIENT, cache).objects


def test_runs_that_the_cache_cannot_tell_of_spare_nothing(project: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(project.folder)
    cache = Path(".dvc/cache")
    before = dvc_history.trace(PATIENT, cache)
    stages = yaml.safe_load(project("git", "show", "HEAD~1:dvc.lock"))["stages"]
    [index] = [each["md5"] for each in stages["split"]["deps"]]
    dvc_history.place(index, cache).unlink()
    found = dvc_history.trace(PATIENT, cache)
    assert (before.unknown, found.unknown) == (0, 1)
    assert found.objects >= before.objects
    said = project("python", "-m", "pipeline.erase", "nobody")
    assert "1 earlier outputs of ingest are not in DVC's cache" in said
    assert "nothing here held this patient" not in said


def test_remote_elsewhere_gets_a_list(project: Any, tmp_path: Path) -> None:
    (tmp_path / "remote").rename(tmp_path / "away")
    said = project("python", "-m", "pipeline.erase", PATIENT)
    listed = [line for line in said.splitlines() if line.startswith("files/md5/")]
    assert listed
    assert all((tmp_path / "away" / line).is_file() for line in listed)
