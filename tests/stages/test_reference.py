"""Stage `reference`: one study of each patient, as the exported graph answers it."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from pipeline import config
from pipeline.errors import ContractError, DataError
from pipeline.files import sha256_file, write_atomic, write_csv, write_json
from pipeline.imaging import nifti
from pipeline.imaging.volume import Volume
from pipeline.monitoring import reference as references
from pipeline.stages import reference as stage
from tests import small_network
from tests.inference.conftest import graph as graph
from tests.inference.conftest import make_release as make_release
from tests.inference.conftest import network as network

OUT = Path("data/reference.npz")
SIDES = {"train": 8, "val": 4, "test": 6}


def _volume(seed: int) -> Volume:
    rng = np.random.default_rng(seed)
    rows, columns = np.mgrid[:48, :40]
    head = ((rows - 24) / 20) ** 2 + ((columns - 20) / 16) ** 2 < 1
    voxels = np.where(head, 400 + 100 * rng.random((4, 48, 40)), 5).astype(np.float32)
    return Volume(voxels, np.diag([2.0, 2.0, 5.0, 1.0]))


def _row(patient: str, study: str, seed: int, vendor: str = "GE") -> dict[str, Any]:
    """A row of the index, whose volume is written."""
    path = Path(f"data/ingested/volumes/S-{seed:04d}.nii.gz")
    write_atomic(path, lambda handle: handle.write(nifti.packed(_volume(seed))))
    known = {"series": f"S-{seed:04d}", "patient": patient, "study": study, "path": str(path)}
    return {**known, "vendor": vendor, "field_strength_t": "1.5" if seed % 2 else ""}


@pytest.fixture
def params(root: Path) -> config.Params:
    shipped = config.load(root / "params.yaml")
    prepare = shipped.prepare.model_copy(update={"size": small_network.SIZE})
    return shipped.model_copy(update={"prepare": prepare})


@pytest.fixture
def rows(graph: Path, make_release: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[dict[str, Any]]:
    """A project with one study of each patient, and its index."""
    monkeypatch.chdir(tmp_path)
    patients = [f"P-{side}-{number}" for side, count in SIDES.items() for number in range(count)]
    write_csv(
        Path("data/split.csv"), ["patient", "split"], [{"patient": p, "split": p.split("-")[1]} for p in patients]
    )
    rows = [_row(patient, f"E-{patient}", seed) for seed, patient in enumerate(patients)]
    write_csv(Path("data/ingested/index.csv"), rows[0], rows)
    for path in (stage.MODEL, stage.EXPORT / "model.onnx"):
        path.parent.mkdir(parents=True, exist_ok=True)
    stage.MODEL.write_bytes(b"weights")
    shutil.copy(graph, stage.EXPORT / "model.onnx")
    hashes = {"model_sha256": sha256_file(stage.MODEL), "onnx_sha256": sha256_file(graph)}
    write_json(stage.EXPORT / "parity.json", hashes)
    write_json(stage.EXPORT / "ladder.json", make_release.ladder({"runtime": "onnxruntime", "precision": "fp32"}))
    fixed = small_network.calibration(threshold=0.3).model_copy(
        update={"model_sha256": hashes["model_sha256"], "split_sha256": sha256_file(Path("data/split.csv"))}
    )
    write_json(stage.CALIBRATION, fixed.record())
    return rows


def test_validation_and_test_patients_are_ranked_among_and_training_patients_are_not(
    rows: list[dict[str, Any]], params: config.Params, graph: Path
) -> None:
    stage.reference(params)
    made = references.read(OUT)
    assert made.onnx_sha256 == sha256_file(graph)
    assert made.backend.endswith("CPUExecutionProvider, fp32")
    assert len(made.studies) == SIDES["val"] + SIDES["test"]
    assert set(made.studies.manufacturers.tolist()) == {"GE"}
    assert sorted(set(made.studies.fields.tolist())) == ["1.5 T", "unknown"]
    assert made.studies.probabilities.shape == (10, 1)
    before = OUT.read_bytes()
    stage.reference(params)
    assert OUT.read_bytes() == before


def test_of_a_patient_the_first_study_alone_counts_with_all_its_volumes(
    rows: list[dict[str, Any]], params: config.Params
) -> None:
    stage.reference(params)
    alone = references.read(OUT).studies
    later = [_row("P-val-0", "E-P-val-0-later", 100, vendor="UIH"), _row("P-unlabelled", "E-0", 101, vendor="UIH")]
    write_csv(Path("data/ingested/index.csv"), rows[0], [*later, *rows])
    stage.reference(params)
    again = references.read(OUT).studies
    assert again.residual.tolist() == alone.residual.tolist()
    assert "UIH" not in again.manufacturers.tolist()
    write_csv(Path("data/ingested/index.csv"), rows[0], [*rows, _row("P-val-0", "E-P-val-0", 102)])
    stage.reference(params)
    more = references.read(OUT).studies
    assert len(more) == len(alone)
    assert more.residual.tolist() != alone.residual.tolist()


def test_another_model_or_too_few_patients_make_none(rows: list[dict[str, Any]], params: config.Params) -> None:
    write_csv(Path("data/ingested/index.csv"), rows[0], [row for row in rows if "train" not in row["patient"]])
    with pytest.raises(DataError, match="two training patients"):
        stage.reference(params)
    stage.MODEL.write_bytes(b"others")
    with pytest.raises(ContractError):
        stage.reference(params)
    assert not OUT.exists()
