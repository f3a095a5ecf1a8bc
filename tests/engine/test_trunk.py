"""The trunk of a release: cut from the model, and the same network as the graph."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from pipeline.engine import trunk
from pipeline.engine.export import export
from pipeline.errors import EngineError
from pipeline.targets import Targets
from pipeline.transfer.backbone import empty_trunk
from pipeline.transfer.model import TransferModel
from tests import small_network
from tests.small_network import SIZE


@pytest.fixture(scope="module", params=["mean", "attention"])
def model(request: pytest.FixtureRequest) -> TransferModel:
    return small_network.model(3, request.param, "test_resnet")


@pytest.fixture(scope="module")
def graph(model: TransferModel, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("graph") / "model.onnx"
    targets = Targets("multiclass", small_network.CLASSES)
    export(small_network.network(model, targets, threshold=None), SIZE, 20, path)
    return path


def test_it_has_the_models_tensors_without_the_head(model: TransferModel, tmp_path: Path) -> None:
    save_file(model.state_dict(), tmp_path / "model.safetensors")
    trunk.write(tmp_path / "model.safetensors", tmp_path / trunk.FILE)
    found, expected = load_file(tmp_path / trunk.FILE), model.trunk.state_dict()
    assert found.keys() == expected.keys()
    assert all(torch.equal(found[key], expected[key]) for key in found)


def test_a_model_without_a_trunk_is_an_error(tmp_path: Path) -> None:
    save_file({"head.1.weight": torch.zeros(1)}, tmp_path / "model.safetensors")
    with pytest.raises(EngineError, match=r"tensors named trunk\.\*"):
        trunk.write(tmp_path / "model.safetensors", tmp_path / trunk.FILE)


def test_the_graphs_own_trunk_is_proved(model: TransferModel, graph: Path) -> None:
    assert trunk.prove(model.trunk, graph, SIZE) <= 1e-5


def test_another_trunk_is_not(graph: Path) -> None:
    torch.manual_seed(1)
    with pytest.raises(EngineError, match="of different models"):
        trunk.prove(empty_trunk("test_resnet", {}), graph, SIZE)


def test_another_number_of_features_is_not(graph: Path) -> None:
    with pytest.raises(EngineError, match=r"features \(5, \d+\) of"):
        trunk.prove(empty_trunk("resnet10t", {}), graph, SIZE)
