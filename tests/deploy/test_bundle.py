"""The bundle, loaded and run by MONAI's own commands where nothing of the pipeline can be imported."""

from __future__ import annotations

import csv
import io
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from deploy.bundle.__main__ import main
from pipeline.contract import load as load_manifest
from pipeline.dicom.load import load
from pipeline.imaging.nifti import packed
from pipeline.imaging.volume import Volume
from pipeline.inference.__main__ import main as answer

#: MONAI's commands are these functions under `fire`.
PROGRAM = """
import json, sys
sys.modules.update(dict.fromkeys(["pipeline", "deploy"]))
sys.path.insert(0, ".")
import monai.bundle
for name, arguments in json.loads(sys.argv[1]):
    try:
        found = getattr(monai.bundle, name)(**arguments)
        print("OUT", json.dumps(found.check_properties() if name == "create_workflow" else None))
    except Exception as error:
        while error.__cause__ is not None:
            error = error.__cause__
        print("OUT", json.dumps(f"{type(error).__name__}: {error}"))
"""
CONFIGS = {"config_file": "configs/inference.json", "meta_file": "configs/metadata.json"}


def monai(bundle: Path, *commands: tuple[str, dict[str, Any]]) -> list[Any]:
    """Run commands of `monai.bundle` in the bundle's folder: of each what it gives, or its error in words."""
    program = [sys.executable, "-W", "ignore", "-c", PROGRAM, json.dumps(commands)]
    done = subprocess.run(program, cwd=bundle, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return [json.loads(line[4:]) for line in done.stdout.splitlines() if line.startswith("OUT ")]


def run(dataset: Path, out: Path) -> tuple[str, dict[str, Any]]:
    return "run", {**CONFIGS, "dataset_dir": str(dataset), "output_dir": str(out)}


def predictions(out: Path) -> dict[str, list[tuple[str, str]]]:
    """Probability and decision by the name of the file, in the order of slices."""
    found: dict[str, list[tuple[str, str]]] = {}
    with open(out / "predictions.csv", newline="") as handle:
        for row in csv.DictReader(handle):
            found.setdefault(Path(row["file"]).name, []).append((row["probability"], row["decision"]))
    return found


def on_the_box(release: Path, folder: Path, capsys: Any) -> list[tuple[str, str]]:
    capsys.readouterr()
    assert answer([str(release), str(folder)]) == 0
    return [(row["probability"], row["decision"]) for row in csv.DictReader(io.StringIO(capsys.readouterr().out))]


@pytest.mark.parametrize("level", ["series", "slice"])
def test_monai_gives_the_answers_of_the_box(level: str, make_release, write_series, tmp_path, capsys) -> None:
    release, bundle, scans = make_release(tmp_path / "release", level), tmp_path / "bundle", tmp_path / "scans"
    assert main([str(release), str(bundle)]) == 0
    files = tmp_path / "nifti"
    files.mkdir()
    for seed in range(3):
        write_series(scans / str(seed), seed, patient=f"P{seed}", slices=6 + seed)
        (scan,) = load(scans / str(seed), workers=1)
        (files / f"{seed}.nii.gz").write_bytes(packed(scan.volume))
    came = monai(
        bundle,
        ("create_workflow", {**CONFIGS, "workflow_type": "inference", "dataset_dir": str(files)}),
        ("verify_net_in_out", {"net_id": "network_def", **CONFIGS}),
        run(files, tmp_path / "out"),
    )
    assert came == [[], None, None], "no required property is missing, and no command failed"
    answers, decisions = predictions(tmp_path / "out"), set()
    for seed in range(3):
        wanted = on_the_box(release, scans / str(seed), capsys)
        assert len(wanted) == (6 + seed if level == "slice" else 1)
        found = answers[f"{seed}.nii.gz"]
        assert [decision for _, decision in found] == [decision for _, decision in wanted]
        assert np.allclose(*(np.array(rows)[:, 0].astype(float) for rows in (found, wanted)), rtol=0, atol=1e-6)
        decisions.update(decision for _, decision in wanted)
    assert decisions == {"0", "1"}


@pytest.fixture(scope="module")
def bundle(make_release, tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("bundle")
    assert main([str(make_release(folder / "release")), str(folder / "bundle")]) == 0
    return folder / "bundle"


def test_what_cannot_be_answered_stops_the_run_with_the_reason(bundle: Path, tmp_path: Path) -> None:
    given = {
        "NaN": np.full((6, 64, 64), np.nan, np.float32),
        "constant": np.ones((6, 64, 64), np.float32),
        "long": np.random.default_rng(0).random((41, 64, 64), np.float32),
    }
    for name, voxels in given.items():
        (tmp_path / name).mkdir()
        (tmp_path / name / "1.nii.gz").write_bytes(packed(Volume(voxels, np.eye(4))))
    came = monai(bundle, *(run(tmp_path / name, tmp_path / "out") for name in (*given, "nothing")))
    reasons = [
        "DataError: expected a volume of numbers; found NaN or infinite voxels",
        "DataError: expected a volume with a picture in it; found one value in every voxel",
        "ValueError: expected at most 40 slices in a volume; found 41",
        "DataError: expected NIfTI files in",
    ]
    assert [said.startswith(reason) for said, reason in zip(came, reasons, strict=True)] == [True] * 4, came
    assert not (tmp_path / "out").exists()


def test_a_bundle_is_the_release_and_says_so(bundle: Path, tmp_path: Path) -> None:
    release = bundle.with_name("release")
    manifest, told = load_manifest(release), json.loads((bundle / "configs/metadata.json").read_text())
    assert (bundle / "models/model.onnx").read_bytes() == (release / "model.onnx").read_bytes()
    assert (told["name"], told["version"], told["graph_sha256"]) == (
        manifest.name,
        manifest.version,
        manifest.graph.sha256,
    )
    outputs = told["network_data_format"]["outputs"]["pred"]
    assert list(outputs["channel_def"].values()) == manifest.task.classes[1:]
    readme = (bundle / "docs/README.md").read_text()
    assert (release / "model_card.md").read_text() in readme
    assert "any contrast, at least 4 slices" in readme
    assert "apache-2.0" in (bundle / "docs/license.txt").read_text()
    assert main([str(release), str(tmp_path / "again")]) == 0
    assert contents(bundle) == contents(tmp_path / "again")


def contents(folder: Path) -> dict[str, bytes]:
    """Every file, but for what Python compiled."""
    files = (path for path in folder.rglob("*") if path.is_file() and path.suffix != ".pyc")
    return {str(path.relative_to(folder)): path.read_bytes() for path in files}


def test_a_changed_release_is_not_bundled(make_release, tmp_path, capsys) -> None:
    release = make_release(tmp_path / "release")
    (release / "model_card.md").write_text("changed")
    assert main([str(release), str(tmp_path / "out")]) == 1
    assert "model_card.md" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()
