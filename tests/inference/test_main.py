"""The command, as a user types it: DICOM in, CSV out, and no training library anywhere."""

from __future__ import annotations

import csv
import io
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from pipeline.contract import load as load_manifest
from pipeline.dicom.load import load
from pipeline.dicom.scan import Scan
from pipeline.engine.graph import ReleaseGraph
from pipeline.imaging.prepare import prepare
from pipeline.inference.__main__ import main
from pipeline.inference.neighbours import weights
from pipeline.inference.signature import write_sums

COLUMNS = "StudyInstanceUID,SeriesInstanceUID,SOPInstanceUID,FrameNumber,probability,decision,status,message"

BLOCKER = """
import sys
BLOCKED = {"torch", "torchvision", "monai", "ignite", "timm", "dvc", "prefect", "nibabel", "nilearn", "onnx", "sklearn"}
class Blocker:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in BLOCKED:
            raise RuntimeError(f"{name} was imported")
sys.meta_path.insert(0, Blocker())
"""


@pytest.fixture
def blocked(root: Path, tmp_path: Path) -> dict[str, str]:
    """An environment in which importing a training library ends the program."""
    (tmp_path / "hook").mkdir()
    (tmp_path / "hook/sitecustomize.py").write_text(BLOCKER)
    return {
        "PYTHONPATH": os.pathsep.join([str(tmp_path / "hook"), str(root)]),
        "PATH": "/usr/bin:/bin",
        "OMP_NUM_THREADS": "1",
    }


def rows(text: str) -> list[dict[str, str]]:
    assert text.splitlines()[0] == COLUMNS
    return list(csv.DictReader(io.StringIO(text)))


def torch_logits(network: ReleaseGraph, folder: Path, release: Path) -> dict[str, np.ndarray]:
    """Slice logits by SeriesInstanceUID, on the torch side."""
    transform = load_manifest(release).transform
    found = {}
    for scan in load(folder, workers=1):
        assert isinstance(scan, Scan)
        slices = torch.from_numpy(prepare(scan.volume, transform)[:, None].astype(np.float32) / 255)
        with torch.no_grad():
            found[scan.series_uid] = network.model(slices).numpy().ravel().astype(np.float64)
    return found


def probability(logit: float) -> float:
    return float(1 / (1 + np.exp(-logit / 1.7)))


def test_without_any_training_library_it_answers_as_torch_does(
    network, make_release, write_series, blocked, tmp_path
) -> None:
    release, scans = make_release(tmp_path / "release"), tmp_path / "scans"
    for seed in range(4):
        write_series(scans / str(seed), seed, patient=f"P{seed}")
    command = [sys.executable, "-m", "pipeline.inference", str(release), str(scans)]
    done = subprocess.run(command, env=blocked, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "UNSIGNED" in done.stderr
    expected = torch_logits(network, scans, release)
    answers = {row["SeriesInstanceUID"]: row for row in rows(done.stdout)}
    assert answers.keys() == expected.keys()
    assert len({row["decision"] for row in answers.values()}) == 2
    for series, row in answers.items():
        wanted = probability(expected[series].mean())
        assert abs(float(row["probability"]) - wanted) < 1e-4
        assert row["decision"] == str(int(wanted >= 0.5))
        assert (row["status"], row["message"], row["SOPInstanceUID"]) == ("ok", "", "")


def test_the_blocker_blocks(blocked) -> None:
    done = subprocess.run(
        [sys.executable, "-c", "import torch"], env=blocked, capture_output=True, text=True, check=False
    )
    assert "torch was imported" in done.stderr


def test_a_slice_model_answers_for_each_slice_in_its_place(
    network, make_release, write_series, tmp_path, capsys
) -> None:
    release, scans = make_release(tmp_path / "release", "slice"), tmp_path / "scans"
    series = write_series(scans, 1)
    assert main([str(release), str(scans)]) == 0
    expected = torch_logits(network, scans, release)[series]
    answers = rows(capsys.readouterr().out)
    (scan,) = load(scans, workers=1)
    assert [(row["SOPInstanceUID"], row["FrameNumber"]) for row in answers] == [(uid, "") for uid, _ in scan.slice_keys]
    assert np.allclose([float(row["probability"]) for row in answers], [probability(x) for x in expected], atol=1e-4)


def test_the_neighbours_of_a_slice_count_for_its_answer_where_they_did_in_validation(
    network, make_release, write_series, tmp_path, capsys
) -> None:
    release, scans = make_release(tmp_path / "release", "slice", neighbours_sd=1.0), tmp_path / "scans"
    series = write_series(scans, 1)
    assert main([str(release), str(scans)]) == 0
    logits = torch_logits(network, scans, release)[series]
    expected = [probability(x) for x in weights(np.arange(len(logits)), 1.0) @ logits]
    answers = [float(row["probability"]) for row in rows(capsys.readouterr().out)]
    assert np.allclose(answers, expected, atol=1e-4)
    assert not np.allclose(answers, [probability(x) for x in logits], atol=1e-3)


@pytest.mark.parametrize(("level", "units"), [("study", [[0, 1], [2]]), ("patient", [[0, 1, 2], [0, 1, 2]])])
def test_studies_and_patients_are_pooled_over_all_their_slices(
    level, units, network, make_release, write_series, tmp_path, capsys
) -> None:
    release, scans = make_release(tmp_path / "release", level), tmp_path / "scans"
    slices = [8, 12, 6]  # unequal, so that a mean of series means would show
    studies = ["1.2.1", "1.2.1", "1.2.2"]
    series = [write_series(scans, seed, study=studies[seed], slices=slices[seed]) for seed in range(3)]
    assert main([str(release), str(scans)]) == 0
    logits = torch_logits(network, scans, release)
    answers = {row["StudyInstanceUID"]: row for row in rows(capsys.readouterr().out)}
    assert list(answers) != []
    for study, members in zip(("1.2.1", "1.2.2"), units, strict=True):
        wanted = probability(np.concatenate([logits[series[member]] for member in members]).mean())
        assert abs(float(answers[study]["probability"]) - wanted) < 1e-4
        assert answers[study]["SeriesInstanceUID"] == ""


def test_a_bad_series_has_its_reason_and_the_next_its_answer(make_release, write_series, tmp_path) -> None:
    release, scans = make_release(tmp_path / "release"), tmp_path / "scans"
    good = write_series(scans, 1)
    localizer = write_series(scans, 2, ImageType=["ORIGINAL", "PRIMARY", "LOCALIZER"])
    constant = write_series(scans, 3, PixelData=np.full((96, 80), 7, np.uint16).tobytes())
    (scans / "1.2.3").write_bytes(b"no DICOM")
    out = tmp_path / "results/out.csv"
    assert main([str(release), str(scans), "--out", str(out)]) == 0
    found = rows(out.read_text())
    status = {row["SeriesInstanceUID"]: (row["status"], row["probability"] != "") for row in found}
    assert status[good] == ("ok", True)
    assert status[localizer] == ("localizer", False)
    assert status[constant] == ("not_prepared", False)
    assert status[""] == ("not_dicom", False)
    assert all(row["message"] for row in found if row["status"] != "ok")
    assert "Doe" not in out.read_text()
    assert [path.name for path in out.parent.iterdir()] == ["out.csv"]


def test_a_release_takes_the_series_that_ingest_would(make_release, write_series, tmp_path) -> None:
    rules = {"planes": ["axial"], "acquisition_types": ["3D"], "best_of_study": ["most_slices"]}
    ingest = make_release.params.ingest.model_copy(update=rules)
    maker = replace(make_release, params=make_release.params.model_copy(update={"ingest": ingest}))
    release, scans = maker(tmp_path / "release"), tmp_path / "scans"
    changed = {"study": "1.2.1", "MRAcquisitionType": "3D"}
    wanted = {
        write_series(scans, 1, slices=10, **changed): "ok",
        write_series(scans, 2, slices=9, **changed): "not_best_of_study",
        write_series(scans, 3, slices=12, **{**changed, "MRAcquisitionType": "2D"}): "acquisition_type_not_selected",
        write_series(scans, 4, ImageOrientationPatient=[1, 0, 0, 0, 0.6, 0.8], **changed): "not_stacked",
    }
    assert main([str(release), str(scans), "--out", str(tmp_path / "out.csv")]) == 0
    found = rows((tmp_path / "out.csv").read_text())
    assert {row["SeriesInstanceUID"]: row["status"] for row in found} == wanted
    card = (release / "model_card.md").read_text()
    assert (
        "any contrast, plane axial, 3D, at least 4 slices, of each contrast in a study the best (most_slices)" in card
    )


def test_where_nothing_can_be_answered_the_reasons_are_still_written(
    make_release, write_series, tmp_path, capsys
) -> None:
    release, scans = make_release(tmp_path / "release"), tmp_path / "scans"
    series = write_series(scans, 1, slices=2)
    assert main([str(release), str(scans)]) == 1
    written = capsys.readouterr()
    assert [(row["SeriesInstanceUID"], row["status"]) for row in rows(written.out)] == [(series, "too_few_slices")]
    assert "DicomError" in written.err


def test_no_such_folder_is_an_error_and_leaves_an_old_result_alone(make_release, tmp_path, capsys) -> None:
    out = tmp_path / "out.csv"
    out.write_text("old")
    assert main([str(make_release(tmp_path / "release")), str(tmp_path / "nowhere"), "--out", str(out)]) == 1
    assert "no such folder" in capsys.readouterr().err
    assert out.read_text() == "old"


def test_a_changed_release_answers_nothing(make_release, write_series, tmp_path, capsys) -> None:
    release = make_release(tmp_path / "release")
    write_series(tmp_path / "scans", 1)
    manifest = release / "manifest.json"
    manifest.write_text(manifest.read_text().replace('"threshold": 0.5', '"threshold": 0.6'))
    assert main([str(release), str(tmp_path / "scans")]) == 1
    written = capsys.readouterr()
    assert written.out == ""
    assert "manifest.json" in written.err


def test_a_signed_release_is_checked_against_the_callers_key(make_release, write_series, tmp_path, capsys) -> None:
    keys = {}
    for name in ("maker", "other"):
        key = Ed25519PrivateKey.generate()
        keys[name] = tmp_path / f"{name}.pub"
        keys[name].write_bytes(
            key.public_key().public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)
        )
        private = key.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )
        (tmp_path / f"{name}.key").write_bytes(private)
    release = make_release(tmp_path / "release", key_file=tmp_path / "maker.key")
    write_series(tmp_path / "scans", 1)
    asked = [str(release), str(tmp_path / "scans"), "--public-key"]
    assert main([*asked, str(keys["maker"])]) == 0
    assert "signature not checked" not in capsys.readouterr().err
    assert main([*asked, str(keys["other"])]) == 1
    assert "does not fit" in capsys.readouterr().err
    assert main(asked[:2]) == 0
    assert "signature not checked" in capsys.readouterr().err


INT8 = {"runtime": "openvino", "precision": "int8"}


def test_what_was_chosen_runs_and_is_said(make_release, write_series, blocked, tmp_path) -> None:
    release, scans = make_release(tmp_path / "release", runs=INT8), tmp_path / "scans"
    for seed in range(3):
        write_series(scans / str(seed), seed, patient=f"P{seed}")
    found = {}
    for asked in ([], ["--precision", "fp32"]):
        command = [sys.executable, "-m", "pipeline.inference", str(release), str(scans), *asked]
        done = subprocess.run(command, env=blocked, cwd=tmp_path, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
        says = next(line for line in done.stderr.splitlines() if line.startswith("running in "))
        found[says] = [float(row["probability"]) for row in rows(done.stdout)]
    assert [says.split()[2] for says in found] == ["OpenVINO", "ONNX"]
    assert [says.rpartition(", ")[2] for says in found] == ["int8", "fp32"]
    off = np.abs(np.subtract(*found.values()))
    assert 0 < off.max() < 0.2


def test_a_machine_that_cannot_run_it_is_told_what_it_can(
    make_release, write_series, tmp_path, monkeypatch, capsys
) -> None:
    release, scans = make_release(tmp_path / "release", runs=INT8), tmp_path / "scans"
    write_series(scans, 1)
    monkeypatch.setitem(sys.modules, "openvino", None)
    assert main([str(release), str(scans)]) == 1
    written = capsys.readouterr()
    assert written.out == ""
    assert "EngineError: expected OpenVINO" in written.err
    assert "--precision fp32" in written.err
    assert main([str(release), str(scans), "--precision", "fp32"]) == 0
    assert len(rows(capsys.readouterr().out)) == 1


def test_another_graph_in_place_of_a_variant_is_refused(make_release, write_series, tmp_path, capsys) -> None:
    """By somebody who also made SHA256SUMS anew."""
    release = make_release(tmp_path / "release", runs=INT8)
    (release / "model_int8.onnx").write_bytes((release / "model.onnx").read_bytes())
    write_sums(release)
    write_series(tmp_path / "scans", 1)
    assert main([str(release), str(tmp_path / "scans")]) == 1
    assert "found another model_int8.onnx" in capsys.readouterr().err
