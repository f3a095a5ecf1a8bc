"""Tasks of several classes are learnt as those of two are."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from pipeline.contract import TaskKind
from pipeline.training_config import Phase
from pipeline.transfer.batches import Bags
from pipeline.transfer.checkpoint import Checkpoint
from pipeline.transfer.model import from_backbone
from pipeline.transfer.train import Material, Training
from tests.transfer.test_train import settings


@pytest.mark.parametrize("kind", ["multiclass", "multilabel"])
def test_several_classes_are_learnt(tmp_path: Path, backbone_folder: Path, material: Material, kind: TaskKind) -> None:
    """Every other pair of series is made darker: two things to see, or four classes."""

    def of(side: Bags) -> Bags:
        bright, dark = side.targets[:, 0] == 1, np.arange(len(side.rows)) // 2 % 2 == 1
        rows = np.concatenate([own for own, darker in zip(side.rows, dark, strict=True) if darker])
        side.values[rows] //= 3
        both = np.eye(4)[2 * dark + bright] if kind == "multiclass" else np.stack([bright, dark], 1)
        return replace(side, targets=both.astype(np.float32))

    values = material.train.values.copy()
    train, val = (of(replace(side, values=values)) for side in (material.train, material.val))
    torch.manual_seed(0)
    model = from_backbone(backbone_folder, 32, 0.1, pretrained=True, outputs=train.targets.shape[1])
    phase = Phase(name="all", trunk=1.0, epochs=8, learning_rate=2e-3)
    job = Training(
        "t", model, [phase], settings(class_weights=True, augment=None), 3, Checkpoint(tmp_path, "t", [], {})
    )
    result = job.run(Material(train, val, kind))
    assert result.curve[-1].shape == val.targets.shape
    assert result.kept_auroc > 0.9
