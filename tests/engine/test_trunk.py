"""The trunk of a release: cut from the model, and the same network as the graph."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import nn

from pipeline.engine import trunk
from pipeline.errors import EngineError
from pipeline.transfer.backbone import empty_trunk, feature_count

SIZE = 32


class Network(nn.Module):
    """A trunk with a linear head; with attention, also a score in a last column."""

    def __init__(self, attention: bool = False) -> None:
        super().__init__()
        self.trunk = empty_trunk("test_resnet", {})
        features = feature_count(self.trunk, SIZE)
        self.head = nn.Linear(features, 3)
        self.gate = nn.Sequential(nn.Linear(features, 4), nn.Tanh(), nn.Linear(4, 1)) if attention else None

    def forward(self, slices: torch.Tensor) -> torch.Tensor:
        features = self.trunk(slices)
        rows: torch.Tensor = self.head(features)
        return rows if self.gate is None else torch.cat([rows, self.gate(features)], dim=1)


def exported(model: nn.Module, path: Path) -> Path:
    """Its graph, as PyTorch's exporter writes it."""
    program = torch.onnx.export(
        model.eval(), (torch.zeros(2, 1, SIZE, SIZE),), dynamo=True, opset_version=20,
        input_names=["slices"], output_names=["logits"], dynamic_shapes=({0: torch.export.Dim("N")},), verbose=False,
    )  # fmt: skip
    assert program is not None
    path.write_bytes(program.model_proto.SerializeToString())
    return path


@pytest.fixture(scope="module", params=[False, True], ids=["pooled", "attention"])
def model(request: pytest.FixtureRequest) -> Network:
    torch.manual_seed(0)
    return Network(request.param).eval()


@pytest.fixture(scope="module")
def graph(model: Network, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return exported(model, tmp_path_factory.mktemp("graph") / "model.onnx")


def test_it_has_the_models_tensors_without_the_head(model: Network, tmp_path: Path) -> None:
    save_file(model.state_dict(), tmp_path / "model.safetensors")
    trunk.write(tmp_path / "model.safetensors", tmp_path / trunk.FILE)
    found, expected = load_file(tmp_path / trunk.FILE), model.trunk.state_dict()
    assert found.keys() == expected.keys()
    assert all(torch.equal(found[key], expected[key]) for key in found)


def test_a_model_without_a_trunk_is_an_error(tmp_path: Path) -> None:
    save_file({"head.1.weight": torch.zeros(1)}, tmp_path / "model.safetensors")
    with pytest.raises(EngineError, match=r"tensors named trunk\.\*"):
        trunk.write(tmp_path / "model.safetensors", tmp_path / trunk.FILE)


def test_the_graphs_own_trunk_is_proved(model: Network, graph: Path) -> None:
    assert trunk.prove(model.trunk, graph, SIZE) <= 1e-5


def test_another_trunk_is_not(graph: Path) -> None:
    torch.manual_seed(1)
    with pytest.raises(EngineError, match="of different models"):
        trunk.prove(empty_trunk("test_resnet", {}), graph, SIZE)


def test_another_number_of_features_is_not(graph: Path) -> None:
    with pytest.raises(EngineError, match=r"features \(5, \d+\) before the head"):
        trunk.prove(empty_trunk("resnet10t", {}), graph, SIZE)


def test_a_graph_without_a_linear_head_is_refused(model: Network, tmp_path: Path) -> None:
    exported(nn.Sequential(model, nn.Sigmoid()), tmp_path / "model.onnx")
    with pytest.raises(EngineError, match=r"a linear layer at the end.*found Sigmoid"):
        trunk.prove(model.trunk, tmp_path / "model.onnx", SIZE)
