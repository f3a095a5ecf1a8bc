"""A workspace as the benchmarks of accuracy and of the advisor need it, and its parameters."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
import yaml
from safetensors.torch import save_file

from pipeline import config
from pipeline.files import write_csv, write_json
from pipeline.transfer.backbone import empty_trunk

NAME, SIZE, PATIENTS, SLICES = "resnet10t", 32, 36, 3


@pytest.fixture
def workspace(root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """36 patients of 3 slices, those of every second one brighter, and an untrained backbone; the current folder."""
    folder = tmp_path / "workspace"
    (folder / "data/prepared").mkdir(parents=True)
    (folder / "models/backbone").mkdir(parents=True)
    monkeypatch.chdir(folder)
    rng = np.random.default_rng(1)
    patients = np.repeat(np.arange(PATIENTS), SLICES)
    slices = rng.integers(0, 150, (len(patients), SIZE, SIZE)) + 60 * (patients % 2)[:, None, None]
    np.save("data/prepared/slices.npy", slices.astype(np.uint8))
    rows = [
        {
            "unit": f"S{p}/{k % SLICES}",
            "series": f"S{p}",
            "slice_index": k % SLICES,
            "patient": f"P{p}",
            "label": p % 2,
            "split": "",
        }
        for k, p in enumerate(patients)
    ]
    write_csv(Path("data/prepared/slices.csv"), rows[0], rows)
    torch.manual_seed(5)
    tensors = {key: value.contiguous() for key, value in empty_trunk(NAME, {}).state_dict().items()}
    save_file(tensors, "models/backbone/backbone.safetensors")
    write_json(Path("models/backbone/card.json"), {"name": NAME, "options": {}, "weights": "file"})
    shipped = yaml.safe_load((root / "params.yaml").read_text())
    shipped["cache_dir"] = str(tmp_path / "cache")
    shipped["data"]["label_level"] = "slice"
    shipped["prepare"]["size"] = SIZE
    shipped["features"]["probe_c"] = [0.1]
    shipped["validate"]["bootstrap"] = 100
    Path("params.yaml").write_text(yaml.safe_dump(shipped))
    return folder


@pytest.fixture
def params(workspace: Path) -> config.Params:
    """The workspace's."""
    return config.load()
