"""A release is opened only if its parts belong to one task."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from pipeline.errors import ContractError
from pipeline.inference import signature
from pipeline.inference.release import open_release


def changed(release: Path, **sections: Any) -> Path:
    """The release with other values in its manifest, and sums that fit."""
    manifest = json.loads((release / "manifest.json").read_text())
    for section, values in sections.items():
        manifest[section].update(values)
    (release / "manifest.json").write_text(json.dumps(manifest))
    (release / "SHA256SUMS").unlink()
    signature.write_sums(release)
    return release


def test_a_binary_release_is_opened(make_release: Any, tmp_path: Path) -> None:
    assert open_release(changed(make_release(tmp_path / "release"))).targets.outputs == 1


@pytest.mark.parametrize(
    ("task", "calibration"),
    [
        ({}, {"threshold": None}),
        ({}, {"temperature": [1.5], "threshold": [0.4]}),
        ({"kind": "multilabel", "classes": ["a", "b"]}, {"temperature": [1.5, 1.0], "threshold": 0.4}),
        ({"kind": "multilabel", "classes": ["a", "b"]}, {"temperature": [1.5], "threshold": [0.4]}),
        ({"kind": "multiclass", "classes": ["a", "b"]}, {"temperature": [1.5, 1.0], "threshold": None}),
        ({"kind": "multiclass", "classes": ["a", "b"]}, {}),
        ({"classes": ["a", "b", "c"]}, {}),
    ],
)
def test_a_calibration_of_another_task_is_refused(
    make_release: Any, tmp_path: Path, task: Any, calibration: Any
) -> None:
    release = changed(make_release(tmp_path / "release"), task=task, calibration=calibration)
    with pytest.raises(
        ContractError, match="a calibration of the manifest's .* task of . classes; found one of another"
    ):
        open_release(release)


def test_a_graph_of_another_number_of_classes_is_refused(make_release: Any, tmp_path: Path) -> None:
    several = {"kind": "multiclass", "classes": ["a", "b", "c"]}
    release = changed(make_release(tmp_path / "release"), task=several, calibration={"threshold": None})
    with pytest.raises(
        ContractError, match="a graph with 3 values a slice, as .*multiclass task of 3 .*found one with 1"
    ):
        open_release(release)
