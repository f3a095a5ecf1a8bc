"""The fp16 and bf16 graphs of a release, for runtimes that are strongly typed: they compute in what the graph says.

Only the trunk is changed. Division by 255, head, pooling and calibrator stay fp32: they cost nothing, and they decide.
Nor do sums over many values go to half, whose rounding and range they would feel, nor constants that half cannot hold.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
import onnx
import onnx.version_converter
from onnx import TensorProto, helper, numpy_helper

from pipeline.engine.export import strip_provenance
from pipeline.engine.quantise import HEAVY, trunk
from pipeline.errors import EngineError
from pipeline.inference.answers import INPUTS

Precision = Literal["fp16", "bf16"]

#: ONNX's type of each, and what a schema calls a tensor of it.
_TYPES = {
    "fp16": (TensorProto.FLOAT16, "tensor(float16)"),
    "bf16": (TensorProto.BFLOAT16, "tensor(bfloat16)"),
}
#: The first opset whose convolutions take bf16.
_OPSET = 22
#: Operators that make the network's numbers of the slices' bytes.
_OPENING = ("Cast", "Div")
#: Operators that sum over many values; those of the name Reduce... do, too.
_SUMS = ("GlobalAveragePool", "InstanceNormalization", "LayerNormalization", "LogSoftmax", "Softmax")
#: Operators that make values of none; they are told the type.
_SOURCES = ("Cast", "Constant", "ConstantOfShape")
#: What the half of a value is called.
_SUFFIX = "_half"


def half(graph: onnx.ModelProto, precision: Precision) -> onnx.ModelProto:
    """The same graph with its trunk in half precision, and a Cast wherever a value enters or leaves it.

    Args:
        graph: of `contract.Graph`, fp32.
        precision: of the trunk's layers. ONNX knows bf16 convolutions from opset 22; an older graph is lifted.

    Raises:
        EngineError: a layer's weights are not finite, or too large for it.
    """
    made = onnx.shape_inference.infer_shapes(_lifted(graph) if precision == "bf16" else graph)
    nodes, constants = _Change(made, precision).run()
    for field, values in (("node", nodes), ("initializer", constants), ("value_info", [])):
        made.graph.ClearField(field)
        getattr(made.graph, field).extend(values)
    onnx.checker.check_model(made, full_check=True)
    return made


class _Change:
    """One graph on its way to half; a float value `x` is known in half as `x_half`."""

    def __init__(self, model: onnx.ModelProto, precision: Precision) -> None:
        self.graph, self.precision = model.graph, precision
        self.type, self.tensor = _TYPES[precision]
        self.opset = _opset(model)
        self.constants = {value.name: value for value in self.graph.initializer}
        self.floats = set(_floats(self.graph))
        self.inside = {node.output[0] for node in self._candidates(trunk(model)) if self._may(node)}
        self.nodes: list[onnx.NodeProto] = []
        self.made: dict[str, onnx.TensorProto | None] = {}
        self.back: set[str] = set()

    def run(self) -> tuple[list[onnx.NodeProto], list[onnx.TensorProto]]:
        """The nodes and the initialisers of the graph in half."""
        for node in self.graph.node:
            changed = onnx.NodeProto()
            changed.CopyFrom(node)
            if node.output[0] in self.inside:
                changed.input[:] = [self._in_half(name) if use else name for name, use in self._uses(node)]
                outputs = [name for name in node.output if name in self.floats]
                changed.output[:] = [name + _SUFFIX if name in outputs else name for name in node.output]
                self.nodes.append(changed)
                self.made.update({name + _SUFFIX: None for name in outputs})
                self.back.update(outputs)
            else:
                self._in_float(node.input)
                self.nodes.append(changed)
        self._in_float([value.name for value in self.graph.output])
        read = {name for node in self.nodes for name in node.input}
        every = [*self.graph.initializer, *(value for value in self.made.values() if value is not None)]
        return self.nodes, [value for value in every if value.name in read]

    def _candidates(self, nodes: list[onnx.NodeProto]) -> Iterator[onnx.NodeProto]:
        """Nodes of the trunk behind its opening, in their order."""
        raw = {INPUTS[0]}
        for node in nodes:
            if node.op_type in _OPENING and node.input[0] in raw:
                raw.update(node.output)
            else:
                yield node

    def _may(self, node: onnx.NodeProto) -> bool:
        """Whether this node can run in half, and keeps what it means."""
        if node.op_type in (*_SUMS, *_SOURCES) or node.op_type.startswith("Reduce"):
            return False
        outputs = onnx.defs.get_schema(node.op_type, self.opset, node.domain).outputs
        if not all(self.tensor in outputs[0].types for name in node.output if name in self.floats):
            return False
        held = [self._holds(self.constants[name]) for name, use in self._uses(node) if use and name in self.constants]
        if node.op_type in HEAVY and not all(fits for fits, _ in held):
            raise EngineError(
                f"weights of {node.name} that are finite in {self.precision}",
                "some that are not, or are too large",
                "Leave this precision out of export.precision.rungs in params.yaml, or train the model anew.",
            )
        return node.op_type in HEAVY or all(fits and keeps for fits, keeps in held)

    def _holds(self, constant: onnx.TensorProto) -> tuple[bool, bool]:
        """Whether a constant stays finite in half, and none of its values becomes 0, such as an epsilon."""
        values, found = numpy_helper.to_array(constant), self._rounded(constant)
        return bool(np.isfinite(found.astype(np.float32)).all()), bool(((values == 0) | (found != 0)).all())

    def _rounded(self, constant: onnx.TensorProto) -> npt.NDArray[Any]:
        with np.errstate(over="ignore"):
            return numpy_helper.to_array(constant).astype(helper.tensor_dtype_to_np_dtype(self.type))

    def _uses(self, node: onnx.NodeProto) -> list[tuple[str, bool]]:
        """Each input, and whether it is a float that this operator takes in half."""
        formal = onnx.defs.get_schema(node.op_type, self.opset, node.domain).inputs
        kinds = [formal[min(place, len(formal) - 1)].types for place in range(len(node.input))]
        return [
            (name, name in self.floats and self.tensor in kind) for name, kind in zip(node.input, kinds, strict=True)
        ]

    def _in_half(self, name: str) -> str:
        """The half of a value, made where it is not there yet."""
        found = name + _SUFFIX
        if found in self.made:
            return found
        self.made[found] = None
        if name in self.constants:
            self.made[found] = numpy_helper.from_array(self._rounded(self.constants[name]), found)
        else:
            self.nodes.append(helper.make_node("Cast", [name], [found], f"cast_{found}", to=self.type))
        return found

    def _in_float(self, names: Any) -> None:
        """Those of the values that are there in half alone, in float as well."""
        for name in names:
            if name in self.back:
                self.back.remove(name)
                cast = helper.make_node("Cast", [name + _SUFFIX], [name], f"cast_{name}", to=TensorProto.FLOAT)
                self.nodes.append(cast)


def _opset(model: onnx.ModelProto) -> int:
    return next(int(entry.version) for entry in model.opset_import if not entry.domain)


def _lifted(model: onnx.ModelProto) -> onnx.ModelProto:
    """The model in an opset that has bf16."""
    if _opset(model) >= _OPSET:
        return model
    made = onnx.version_converter.convert_version(model, _OPSET)
    strip_provenance(made)
    return made


def _floats(graph: onnx.GraphProto) -> Iterator[str]:
    """Names of the fp32 values of a graph whose shapes were inferred."""
    for value in (*graph.input, *graph.value_info, *graph.output):
        if value.type.tensor_type.elem_type == TensorProto.FLOAT:
            yield value.name
    for constant in graph.initializer:
        if constant.data_type == TensorProto.FLOAT:
            yield constant.name
