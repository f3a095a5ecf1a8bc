"""Every family of networks: one channel, a new head, ONNX with the same logits at any batch, and an engine.

Each is built in fp32 here, and one of each kind (convolutions, normalised convolutions, attention) in every precision;
`python -m tests.benchmarks.engines` builds all of them in all.
"""

from __future__ import annotations

import importlib.util
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pytest

from pipeline.engine.export import export
from pipeline.engine.graph import ReleaseGraph
from pipeline.engine.parity import compare
from pipeline.inference import gpu, tensorrt
from pipeline.inference.answers import each
from pipeline.inference.backends import OnnxRuntime
from pipeline.inference.tensorrt_run import TensorRt
from tests import programs, small_network
from tests.benchmarks.engines import PRECISIONS, engines, model_of, noise
from tests.families import NINE, Family

IN_EVERY_PRECISION = ("resnet10t", "convnext_atto", "vit_tiny_patch16_224")


class Exported(NamedTuple):
    """A family's network and the graph of its release."""

    family: Family
    network: ReleaseGraph
    path: Path


@pytest.fixture(scope="module", params=NINE, ids=lambda family: family.name)
def exported(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Exported:
    family = request.param
    path = tmp_path_factory.mktemp("family") / "model.onnx"
    network = small_network.network(model_of(family), size=family.size)
    export(network, family.size, 20, path)
    return Exported(family, network, path)


def test_an_rgb_network_answers_in_one_channel_as_its_graph_does(exported: Exported) -> None:
    parity = compare(exported.network, exported.path, noise(exported.family, 40), 1e-4)
    assert parity.batches == [(1, 1), (3, 2), (5, 5), (31, 1)]


def test_from_an_rgb_network_to_an_engine(exported: Exported, monkeypatch: pytest.MonkeyPatch) -> None:
    if importlib.util.find_spec("tensorrt_rtx") is None:
        programs.missing("tensorrt_rtx is not installed")
    monkeypatch.setattr(gpu, "compute_capability", lambda: None)
    every = PRECISIONS if exported.family.name in IN_EVERY_PRECISION else PRECISIONS[:1]
    found = list(engines(exported.family, exported.path, every))
    assert [(row["precision"], row["built"]) for row in found] == [(name, True) for name in every], found
    assert all(row["message"].startswith("built, not run") for row in found)


def test_an_engine_answers_as_its_graph(exported: Exported) -> None:
    own = gpu.compute_capability()
    if own is None:
        pytest.skip("no GPU is there to run an engine on")
    if not any(importlib.util.find_spec(name) for name in tensorrt.MODULES):
        programs.missing("no TensorRT is installed")
    builder, path = tensorrt.find(), exported.path.with_name("own.engine")
    if own not in builder.capabilities:
        pytest.skip(f"{builder.name} does not build for compute capability {own}")
    tensorrt.build(builder, exported.path, path, own, (1, 4, 8))
    slices = noise(exported.family)
    backend = TensorRt(path, builder, "fp32")
    try:
        found = backend.run(slices, each(len(slices))).probabilities
    finally:
        backend.close()
    expected = OnnxRuntime(exported.path).run(slices, each(len(slices))).probabilities
    np.testing.assert_allclose(found, expected, rtol=0, atol=1e-3)
