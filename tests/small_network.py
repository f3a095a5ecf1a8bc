"""A small fine-tuned model, and the graph of its release."""

from __future__ import annotations

from typing import Any

import torch
from torch import nn

from pipeline.calibrator import Calibration
from pipeline.engine.graph import ReleaseGraph
from pipeline.targets import BINARY, Targets
from pipeline.transfer.backbone import empty_trunk, feature_count
from pipeline.transfer.model import TransferModel

SIZE = 64
CLASSES = ("low", "mid", "high")


def model(
    outputs: int = 1, pooling: Any = "mean", name: str = "test_efficientnet", size: int = SIZE, spread: float = 1.0
) -> TransferModel:
    """Its logits differ visibly from slice to slice, the more the larger `spread`."""
    torch.manual_seed(7)
    trunk = empty_trunk(name, {})
    made = TransferModel(trunk, feature_count(trunk, size), outputs, pooling).eval()
    for parameter in made.head.parameters():
        nn.init.normal_(parameter, std=0.1)
    with torch.no_grad():
        features = trunk(torch.rand(16, 1, size, size))
        made.head.logits.weight.mul_(spread / made.head.logits(features).std())
    return made


def calibration(**given: Any) -> Calibration:
    """One that no stage has written."""
    return Calibration(
        **{"temperature": 1.0, "threshold": 0.5, "rule": "youden", "model_sha256": "", "split_sha256": "", **given}
    )


def network(made: TransferModel, targets: Targets = BINARY, size: int = SIZE, **fixed: Any) -> ReleaseGraph:
    """The graph of its release."""
    return ReleaseGraph(made, calibration(**fixed), targets, size).eval()
