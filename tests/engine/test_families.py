"""Every family of networks: one channel, a new head, ONNX with the same logits at any batch, and an engine.

Each is built in fp32 here, and one of each kind (convolutions, normalised convolutions, attention) in every precision;
`python -m tests.benchmarks.engines` builds all of them in all.
"""

from __future__ import annotations

import importlib.util
from pathlib import Path

import pytest

from pipeline.engine.export import export
from pipeline.engine.parity import compare
from pipeline.inference import gpu
from tests import small_network
from tests.benchmarks.engines import PRECISIONS, engines, model_of, noise
from tests.families import Family, each_family

IN_EVERY_PRECISION = ("resnet10t", "convnext_atto", "vit_tiny_patch16_224")


@each_family
def test_from_an_rgb_network_to_an_engine(family: Family, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "model.onnx"
    network = small_network.network(model_of(family), size=family.size)
    export(network, family.size, 20, path)
    parity = compare(network, path, noise(family, 40), 1e-4)
    assert parity.batches == [(1, 1), (3, 2), (5, 5), (31, 1)]
    if importlib.util.find_spec("tensorrt_rtx") is None:
        return
    monkeypatch.setattr(gpu, "compute_capability", lambda: None)
    every = PRECISIONS if family.name in IN_EVERY_PRECISION else PRECISIONS[:1]
    found = list(engines(family, path, every))
    assert [(row["precision"], row["built"]) for row in found] == [(name, True) for name in every], found
    assert all(row["message"].startswith("built, not run") for row in found)
