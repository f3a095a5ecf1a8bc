"""models/embedded's own DVC pipeline, as who trains a backbone runs it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from tests import photographs

pytestmark = pytest.mark.acceptance


@pytest.mark.long
def test_the_recipe_runs_in_dvc_and_then_has_nothing_to_do(clone: Any, root: Path, tmp_path: Path) -> None:
    project = clone.copy(tmp_path)
    folder = project.folder / "models/embedded"
    photographs.shrink(folder, root / "models/embedded/params.yaml")
    project.folder = folder
    project.run("dvc", "repro")
    card = json.loads((folder / "trained/card.json").read_text())
    assert (card["name"], card["classes"], card["top1_images"]) == (photographs.NAME, 3, 48)
    assert "Data and pipelines are up to date." in project.run("dvc", "repro")
