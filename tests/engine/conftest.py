"""A small network as a release has it."""

from __future__ import annotations

import onnx
import pytest

from pipeline.engine.export import export
from pipeline.engine.graph import ReleaseGraph
from tests import small_network


@pytest.fixture(scope="session")
def network() -> ReleaseGraph:
    return small_network.network(small_network.model())


@pytest.fixture(scope="module")
def graph(network: ReleaseGraph, tmp_path_factory: pytest.TempPathFactory) -> onnx.ModelProto:
    path = tmp_path_factory.mktemp("graph") / "model.onnx"
    export(network, small_network.SIZE, 20, path)
    return onnx.load(path)
