"""The exported graph: valid, free of its maker's paths, with a free batch, the same bytes each time."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import onnx
import pytest
import torch
from torch import nn

from pipeline.engine.export import check, export
from pipeline.errors import EngineError

SIZE = 64


@pytest.fixture(scope="module")
def exported(network: nn.Module, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("export") / "model.onnx"
    export(network, SIZE, 20, path)
    return path


def test_the_graph_is_what_the_contract_promises(exported: Path) -> None:
    graph = onnx.load(exported)
    (slices,), (logits,) = graph.graph.input, graph.graph.output
    assert (slices.name, logits.name) == ("slices", "logits")
    assert [dim.dim_param or dim.dim_value for dim in slices.type.tensor_type.shape.dim] == ["N", 1, SIZE, SIZE]
    assert slices.type.tensor_type.elem_type == logits.type.tensor_type.elem_type == onnx.TensorProto.FLOAT
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
        self.layers = nn.Sequential(nn.Conv2d(1, 4, 3, stride=2), nn.Hardswish(), pool, nn.Flatten(), nn.Linear(4, 1))
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
        export(module.Small(), SIZE, 20, source.with_suffix(".onnx"))
        contents.append(source.with_suffix(".onnx").read_bytes())
    assert contents[0] == contents[1]


def test_a_training_model_is_exported_in_evaluation_mode(tmp_path: Path) -> None:
    dropped = nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Dropout(0.5)).train()
    export(dropped, SIZE, 20, tmp_path / "model.onnx")
    assert "Dropout" not in {node.op_type for node in onnx.load(tmp_path / "model.onnx").graph.node}


class FixedBatch(nn.Module):
    def forward(self, slices: torch.Tensor) -> torch.Tensor:
        return slices.reshape(2, -1).mean(dim=1, keepdim=True)


def test_a_network_that_fixes_the_batch_is_refused(tmp_path: Path) -> None:
    with pytest.raises(EngineError, match=r"'logits', 2, 1.*any number of slices"):
        export(FixedBatch(), SIZE, 20, tmp_path / "model.onnx")
    assert list(tmp_path.iterdir()) == []


def test_an_invalid_graph_is_refused(exported: Path) -> None:
    graph = onnx.load(exported)
    graph.graph.node[0].input[0] = "nowhere"
    with pytest.raises(EngineError, match="valid ONNX graph"):
        check(graph, SIZE, 20, 1)
