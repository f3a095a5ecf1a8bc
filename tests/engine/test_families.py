"""Every family of networks: one channel, a new head, ONNX with the same logits at any batch, and an engine."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import numpy as np
import pytest
import torch

from pipeline.engine.export import export
from pipeline.engine.parity import compare
from pipeline.inference import gpu, tensorrt
from pipeline.transfer.backbone import feature_count
from pipeline.transfer.model import TransferModel
from tests import small_network
from tests.families import Family, each_family, one_channel_trunk


def model_of(family: Family) -> TransferModel:
    """With a head whose logits are of the size of a decision."""
    trunk = one_channel_trunk(family)
    model = TransferModel(trunk, feature_count(trunk, family.size)).eval()
    with torch.no_grad():
        features = trunk(torch.rand(4, 1, family.size, family.size))
        model.head.logits.weight.copy_(torch.randn(1, features.shape[1]) / features.norm(dim=1).mean())
    return model


@each_family
def test_from_an_rgb_network_to_an_engine(family: Family, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    model, path = model_of(family), tmp_path / "model.onnx"
    slices = np.random.default_rng(3).integers(0, 256, (40, family.size, family.size), dtype=np.uint8)
    network = small_network.network(model, size=family.size)
    export(network, family.size, 20, path)
    parity = compare(network, path, slices, 1e-4)
    assert parity.batches == [(1, 1), (3, 2), (5, 5), (31, 1)]
    if importlib.util.find_spec("tensorrt_rtx") is None:
        return
    monkeypatch.setattr(gpu, "compute_capability", lambda: None)
    engine = tensorrt.build(tensorrt.find(), path, tmp_path / "engine", "8.9", (1, 4, 8))
    assert engine.status == "built, not run"
