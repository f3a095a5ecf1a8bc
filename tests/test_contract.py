"""manifest.json: what is written, read back and refused."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from pipeline import contract
from pipeline.errors import ContractError
from pipeline.origins import Pretrained
from tests import compiled
from tests.pretrained import card


@pytest.fixture
def manifest() -> contract.Manifest:
    return contract.Manifest(
        name="demo",
        version="0.1.0",
        task=contract.Task(
            source="ImageNet",
            target="lesion",
            source_domain="photographs",
            target_domain="MRI",
            label_level="series",
            kind="binary",
            classes=["no", "yes"],
        ),
        trunk=contract.Trunk(file="trunk.safetensors", sha256="3" * 64),
        selection=contract.Selection(contrasts=["FLAIR"], min_slices=8),
        transform=contract.Transform(size=128, window_percentiles=(0.5, 99.5), head_margin_mm=6.0),
        graph=contract.Graph(
            file="model.onnx",
            sha256="0" * 64,
            opset=20,
            inputs=["slices", "membership"],
            outputs=["probabilities", "logits", "slice_scores", "embedding"],
            pooling="mean",
            usual_slices=20,
            most_slices=512,
            variants=[contract.Variant(precision="int8", file="model_int8.onnx", sha256="4" * 64)],
        ),
        runs=contract.Runs(runtime="openvino", precision="int8"),
        calibration=contract.Calibration(
            temperature=1.5, threshold=0.4, rule="youden", model_sha256="1" * 64, split_sha256="2" * 64
        ),
        backbone=Pretrained(**card()),
        data={"source": "demo"},
        validation={},
        made_from=compiled.provenance(),
        cases=contract.ParityCases(sha256="4" * 64, tolerance=1e-3, band=0.02),
        engines=[],
        signature="UNSIGNED",
    )


def test_manifest_comes_back_as_it_was(manifest: contract.Manifest, tmp_path: Path) -> None:
    manifest.save(tmp_path / "manifest.json")
    assert contract.load(tmp_path) == manifest


def test_domain_is_what_the_model_was_made_for() -> None:
    assert contract.Selection(contrasts=["FLAIR"], min_slices=8).domain == "MRI, FLAIR"
    every = contract.Selection(contrasts=["T1", "T2"], planes=["axial"], acquisition_types=["3D"], min_slices=4)
    assert every.domain == "MRI, T1 or T2, axial, 3D"
    assert contract.Selection(contrasts=None, min_slices=4).domain == "MRI"


def test_rules_are_said_in_words() -> None:
    assert contract.Selection(contrasts=None, min_slices=8).rules == ["any contrast", "at least 8 slices"]
    every = contract.Selection(
        contrasts=["T1", "T2"],
        planes=["axial", "oblique"],
        acquisition_types=["3D"],
        min_slices=4,
        best_of_study=["thinnest", "latest"],
    )
    assert every.rules == [
        "contrast T1 or T2",
        "plane axial or oblique",
        "3D",
        "at least 4 slices",
        "of each contrast in a study the best (thinnest, latest)",
    ]


def test_equal_manifests_give_equal_bytes(manifest: contract.Manifest, tmp_path: Path) -> None:
    manifest.save(tmp_path / "one.json")
    contract.Manifest.model_validate(manifest.model_dump()).save(tmp_path / "two.json")
    assert (tmp_path / "one.json").read_bytes() == (tmp_path / "two.json").read_bytes()


def test_folder_without_a_manifest_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ContractError, match="found none there. Name the release folder"):
        contract.load(tmp_path)


@pytest.mark.parametrize(
    ("place", "value", "named"),
    [
        (["schema_version"], 1, "schema_version"),
        (["calibration", "threshold"], 1.5, "calibration.threshold"),
        (["calibration", "temperature"], 0, "calibration.temperature"),
        (["transform", "size"], "big", "transform.size"),
        (["transform", "interpolation"], "cubic", "transform.interpolation"),
        (["graph", "pooling"], "sum", "graph.pooling"),
    ],
)
def test_manifest_that_is_not_understood_is_refused(
    manifest: contract.Manifest, tmp_path: Path, place: list[str], value: Any, named: str
) -> None:
    content = manifest.model_dump()
    section = content
    for part in place[:-1]:
        section = section[part]
    section[place[-1]] = value
    (tmp_path / "manifest.json").write_text(json.dumps(content))
    with pytest.raises(
        ContractError, match=f"a manifest of schema 2; found {named}: .* (Copy the release again|make it again)"
    ):
        contract.load(tmp_path)


def test_manifest_cut_short_is_refused(manifest: contract.Manifest, tmp_path: Path) -> None:
    path = tmp_path / "manifest.json"
    manifest.save(path)
    path.write_bytes(path.read_bytes()[:-20])
    with pytest.raises(ContractError, match="Invalid JSON"):
        contract.load(tmp_path)


@pytest.mark.parametrize(
    ("kind", "classes", "temperature", "threshold"),
    [
        ("multiclass", ["a", "b", "c"], 1.5, None),
        ("multilabel", ["a", "b"], [1.5, 2.0], [0.4, 0.5]),
    ],
)
def test_several_classes_come_back_as_they_were(
    manifest: contract.Manifest, tmp_path: Path, kind: Any, classes: list[str], temperature: Any, threshold: Any
) -> None:
    task = manifest.task.model_copy(update={"kind": kind, "classes": classes})
    fixed = manifest.calibration.model_copy(update={"temperature": temperature, "threshold": threshold})
    several = manifest.model_copy(update={"task": task, "calibration": fixed})
    several.save(tmp_path / "manifest.json")
    assert contract.load(tmp_path) == several


@pytest.mark.parametrize(
    ("kind", "classes", "temperature", "threshold"),
    [
        ("binary", ["a", "b", "c"], 1.5, 0.4),
        ("binary", ["a", "b"], 1.5, None),
        ("multiclass", ["a", "b", "c"], 1.5, 0.4),
        ("multiclass", ["a", "b"], [1.5, 1.0], None),
        ("multilabel", ["a", "b"], 1.5, 0.4),
        ("multilabel", ["a", "b", "c"], [1.5, 2.0], [0.4, 0.5]),
    ],
)
def test_a_calibration_of_another_task_is_refused(
    manifest: contract.Manifest, tmp_path: Path, kind: Any, classes: list[str], temperature: Any, threshold: Any
) -> None:
    manifest.save(tmp_path / "manifest.json")
    raw = json.loads((tmp_path / "manifest.json").read_text())
    raw["task"].update(kind=kind, classes=classes)
    raw["calibration"].update(temperature=temperature, threshold=threshold)
    (tmp_path / "manifest.json").write_text(json.dumps(raw))
    with pytest.raises(ContractError, match=f"the whole: .* none of a {kind} task of {len(classes)} classes"):
        contract.load(tmp_path)


KNOTS = {"logits": [-1.0, 0.5, 2.0], "probabilities": [0.1, 0.1, 0.8]}


def saved(manifest: contract.Manifest, folder: Path, **calibration: Any) -> None:
    manifest.save(folder / "manifest.json")
    raw = json.loads((folder / "manifest.json").read_text())
    raw["calibration"] |= calibration
    (folder / "manifest.json").write_text(json.dumps(raw))


def test_an_isotonic_calibrator_comes_back_as_it_was(manifest: contract.Manifest, tmp_path: Path) -> None:
    saved(manifest, tmp_path, temperature=1.0, knots=[KNOTS])
    (knots,) = contract.load(tmp_path).calibration.knots or []
    assert knots.model_dump() == KNOTS


@pytest.mark.parametrize(
    ("calibration", "message"),
    [
        ({"knots": [{**KNOTS, "logits": [-1.0, 2.0, 0.5]}]}, "both rising"),
        ({"knots": [{**KNOTS, "logits": [-1.0, 0.5]}]}, "as many probabilities as logits"),
        ({"knots": [{**KNOTS, "probabilities": [0.3, 0.2, 0.8]}]}, "both rising"),
        ({"knots": [{**KNOTS, "probabilities": [0.3, 0.4, 1.2]}]}, "less than or equal to 1"),
        ({"knots": [KNOTS, KNOTS]}, "none of a binary task"),
        ({"calibration_sha256": "0" * 64}, "changed by hand"),
    ],
)
def test_a_calibrator_that_cannot_be_is_refused(
    manifest: contract.Manifest, tmp_path: Path, calibration: dict[str, Any], message: str
) -> None:
    saved(manifest, tmp_path, **calibration)
    with pytest.raises(ContractError, match=message):
        contract.load(tmp_path)


def test_a_threshold_that_was_moved_in_a_manifest_is_noticed(manifest: contract.Manifest, tmp_path: Path) -> None:
    saved(manifest, tmp_path, calibration_sha256=manifest.calibration.content_sha256)
    contract.load(tmp_path)
    saved(manifest, tmp_path, calibration_sha256=manifest.calibration.content_sha256, threshold=0.3)
    with pytest.raises(ContractError, match="changed by hand"):
        contract.load(tmp_path)
