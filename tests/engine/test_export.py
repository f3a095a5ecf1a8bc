"""The exported graph: valid, free of its maker's paths, for any number of slices, the same bytes each time."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import onnx
import pytest
import torch
from torch import nn

from pipeline.engine.export import check, export
from pipeline.engine.graph import ReleaseGraph
from pipeline.errors import EngineError
from pipeline.inference.answers import INPUTS, OPTIONAL, REQUIRED
from pipeline.transfer.head import Head
from pipeline.transfer.model import TransferModel
from tests import small_network
from tests.small_network import SIZE


@pytest.fixture(scope="module")
def exported(network: ReleaseGraph, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("export") / "model.onnx"
    export(network, SIZE, 20, path)
    return path


def test_the_graph_is_what_the_contract_promises(exported: Path) -> None:
    graph = onnx.load(exported)
    shapes = {
        value.name: [dim.dim_param or dim.dim_value for dim in value.type.tensor_type.shape.dim]
        for value in (*graph.graph.input, *graph.graph.output)
    }
    assert shapes == {
        "slices": ["N", 1, SIZE, SIZE], "membership": ["B", "N"],
        "probabilities": ["B", 1], "logits": ["B", 1], "slice_scores": ["N", 1],
        "embedding": ["B", 256], "saliency": ["N", 1, 2, 2],
    }  # fmt: skip
    assert list(shapes) == [*INPUTS, *REQUIRED, *OPTIONAL]
    types = [value.type.tensor_type.elem_type for value in (*graph.graph.input, *graph.graph.output)]
    assert types == [onnx.TensorProto.UINT8, *[onnx.TensorProto.FLOAT] * 6]
    assert [(entry.domain, entry.version) for entry in graph.opset_import] == [("", 20)]


def test_it_is_one_file_with_its_weights(exported: Path) -> None:
    assert [path.name for path in exported.parent.iterdir()] == ["model.onnx"]
    assert not any(tensor.external_data for tensor in onnx.load(exported).graph.initializer)


def test_nothing_tells_where_or_by_which_build_it_was_made(exported: Path) -> None:
    content = exported.read_bytes()
    for trace in (b"site-packages", b"stack_trace", b"timm", str(Path.cwd()).encode(), torch.__version__.encode()):
        assert trace not in content


_MODULE = """
from torch import nn
class Small(nn.Module):
    def __init__(self):
        super().__init__()
        pool = nn.AdaptiveAvgPool2d(1)
        self.layers = nn.Sequential(nn.Conv2d(1, 4, 3, stride=2), nn.Hardswish(), pool, nn.Flatten())
    def forward(self, slices):
        return self.layers(slices)
"""


def test_two_checkouts_write_the_same_bytes(tmp_path: Path) -> None:
    contents = []
    for checkout in ("a", "somewhere/else"):
        source = tmp_path / checkout / "small.py"
        source.parent.mkdir(parents=True)
        source.write_text(_MODULE)
        spec = importlib.util.spec_from_file_location("small", source)
        assert spec is not None
        assert spec.loader is not None
        module = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
        torch.manual_seed(3)
        made = small_network.network(TransferModel(module.Small(), 4))
        export(made, SIZE, 20, source.with_suffix(".onnx"))
        contents.append(source.with_suffix(".onnx").read_bytes())
    assert contents[0] == contents[1]


def test_a_training_model_is_exported_in_evaluation_mode(tmp_path: Path) -> None:
    network = small_network.network(TransferModel(nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten()), 1, dropout=0.5))
    export(network.train(), SIZE, 20, tmp_path / "model.onnx")
    assert "Dropout" not in {node.op_type for node in onnx.load(tmp_path / "model.onnx").graph.node}


class FixedBatch(nn.Module):
    """Of the first three slices alone."""

    def forward(self, slices: torch.Tensor) -> torch.Tensor:
        return slices.reshape(3, -1)[:, :4]


def test_a_network_that_fixes_the_batch_is_refused(tmp_path: Path) -> None:
    network = small_network.network(TransferModel(nn.Flatten(), SIZE * SIZE))
    network.model.trunk = FixedBatch()
    network.model.head = Head(4, 1, "mean")
    with pytest.raises(EngineError, match="any number of slices|can write as ONNX"):
        export(network, SIZE, 20, tmp_path / "model.onnx")
    assert list(tmp_path.iterdir()) == []


def test_an_invalid_graph_is_refused(exported: Path) -> None:
    graph = onnx.load(exported)
    graph.graph.node[0].input[0] = "nowhere"
    with pytest.raises(EngineError, match="valid ONNX graph"):
        check(graph, SIZE, 20, {})


def test_another_shape_than_promised_is_refused(exported: Path) -> None:
    with pytest.raises(EngineError, match="a graph of .*any number of slices"):
        check(onnx.load(exported), SIZE, 20, {"probabilities": [2, 3]})
