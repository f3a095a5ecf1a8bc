"""The control from random weights, as the stage `scratch` has it trained."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from pipeline import config
from pipeline.files import write_csv
from pipeline.params import update
from pipeline.stages import finetune
from pipeline.stages.scratch import scratch
from tests.stopping import Stop

ROOT = Path(__file__).resolve().parents[2]
HEAD = "finetune.phases=[{name: head, trunk: 0.0, epochs: 7, learning_rate: 0.01}]"


@pytest.mark.parametrize(("more", "epochs"), [([], 24), ([HEAD], 7)])
def test_it_learns_as_long_at_one_rate_for_all_layers(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    blobs: tuple[np.ndarray, list[dict[str, str]]],
    backbone_folder: Path,
    more: list[str],
    epochs: int,
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("params.yaml").write_bytes((ROOT / "params.yaml").read_bytes())
    update(Path("params.yaml"), ["prepare.size=32", f"cache_dir={tmp_path}", "finetune.layer_decay=0.5", *more])
    Path("models").mkdir()
    Path("models/backbone").symlink_to(backbone_folder)
    write_csv(Path("data/prepared/slices.csv"), blobs[1][0], blobs[1])
    np.save("data/prepared/slices.npy", blobs[0])
    asked: list[Any] = []

    def training(*given: Any) -> None:
        asked.extend(given)
        raise Stop

    monkeypatch.setattr(finetune, "Training", training)
    with pytest.raises(Stop):
        scratch(config.load())
    [phase], settings = asked[2:4]
    assert (phase.trunk, phase.epochs) == (1.0, epochs)
    assert settings.layer_decay == 1.0
    assert config.load().finetune.layer_decay == 0.5
