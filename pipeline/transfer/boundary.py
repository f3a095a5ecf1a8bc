"""A trunk cut in two at a boundary: what is frozen runs once, what learns runs on its outputs."""

from __future__ import annotations

from collections.abc import Iterator

import torch
from timm.layers import get_notrace_functions, get_notrace_modules
from torch import fx, nn

from pipeline.transfer.layers import blocks

#: What a trace raises where a network decides by values or shapes that it does not have yet.
_UNTRACEABLE = (TypeError, ValueError, RuntimeError, AttributeError, AssertionError, KeyError, IndexError)

Graph = list[fx.Node]


class _Whole(nn.Module):
    """The trunk as the only argument's function, so that optional arguments keep their defaults in a trace."""

    def __init__(self, trunk: nn.Module) -> None:
        super().__init__()
        self.trunk = trunk

    def forward(self, slices: torch.Tensor) -> torch.Tensor:
        features: torch.Tensor = self.trunk(slices)
        return features


class _Tracer(fx.Tracer):
    """A tracer that does not look into blocks: within them, anything may depend on values or on the mode."""

    def __init__(self, leaves: set[int]) -> None:
        functions = tuple(function for function in get_notrace_functions() if callable(function))
        super().__init__(autowrap_functions=functions)
        self._leaves = leaves

    def is_leaf_module(self, m: nn.Module, module_qualified_name: str) -> bool:  # noqa: ARG002  fx names it
        return id(m) in self._leaves or isinstance(m, tuple(get_notrace_modules()))


def split(trunk: nn.Module, frozen: int, example: torch.Tensor) -> tuple[nn.Module, nn.Module] | None:
    """`trunk` as a prefix of frozen blocks and the suffix after it; both share its modules and parameters.

    The boundary is the last point at which one tensor, with one row a slice, goes on and all before it belongs to the
    first `frozen` blocks; that may be below the last of them (inside a dense block several go on). Modes and gradients
    stay those of the shared modules. On `example` the two give the trunk's own bits in evaluation mode, and the suffix
    leaves its input as it was; for the training mode, the same graph is demanded in both modes.

    Args:
        trunk: (N, 1, H, W) to (N, F).
        frozen: how many blocks, from the stem up, as `layers.place` gives it.
        example: slices that the trunk takes, two or more.

    Returns:
        None where the network cannot be cut: it decides by values, or does something in training only.
    """
    if frozen == len(blocks(trunk)):
        return trunk, nn.Identity()
    modes = {module: module.training for module in trunk.modules()}
    try:
        found = _traced(trunk)
        if found is None:
            return None
        root, graph = found
        trunk.eval()
        for row, value in _cuts(root, graph, frozen):
            halves = _before(root, graph, row, value), _after(root, graph, row, value)
            if _same(trunk, *halves, example):
                return halves
        return None
    finally:
        for module, mode in modes.items():
            module.training = mode


def _traced(trunk: nn.Module) -> tuple[_Whole, Graph] | None:
    """The graph between blocks, if it is the same in both modes and holds no value made while tracing."""
    root = _Whole(trunk)
    leaves = {id(module) for block in blocks(trunk) for module in block.modules}
    graphs: list[fx.Graph] = []
    for mode in (True, False):
        trunk.train(mode)
        try:
            graphs.append(_Tracer(leaves).trace(root))
        except _UNTRACEABLE:
            return None
    training, evaluation = graphs
    if str(training) != str(evaluation) or "_tensor_constant" in str(evaluation):
        return None
    return root, list(evaluation.nodes)


def _cuts(root: _Whole, graph: Graph, frozen: int) -> Iterator[tuple[int, fx.Node]]:
    """Where one value alone goes on and all before it belongs to frozen blocks, last first: a row, and the value."""
    rows = {node: row for row, node in enumerate(graph)}
    owners = _owners(root.trunk)
    limit = next(row for row, node in enumerate(graph) if node.op == "output" or _owner(root, node, owners) >= frozen)
    for row in reversed(range(limit)):
        made = (node for node in graph[: row + 1] if node.op != "get_attr")
        going_on = [node for node in made if any(rows[user] > row for user in node.users)]
        if len(going_on) == 1:
            yield row, going_on[0]


def _owners(trunk: nn.Module) -> dict[int, int]:
    """The block's number by the id of a module or parameter."""
    found: dict[int, int] = {}
    for number, block in enumerate(blocks(trunk)):
        for part in (*block.modules, *block.parameters):
            found.setdefault(id(part), number)
    return found


def _owner(root: _Whole, node: fx.Node, owners: dict[int, int]) -> int:
    """The block that a node belongs to; -1 where it belongs to none, as a reshaping does."""
    if node.op not in ("call_module", "get_attr"):
        return -1
    holder, _, leaf = str(node.target).rpartition(".")
    return owners.get(id(getattr(root.get_submodule(holder), leaf)), -1)


def _before(root: _Whole, graph: Graph, row: int, value: fx.Node) -> nn.Module:
    """The part up to `row`, which gives `value`."""
    part, copied = fx.Graph(), dict[fx.Node, fx.Node]()
    for node in graph[: row + 1]:
        copied[node] = part.node_copy(node, copied.__getitem__)
    part.output(copied[value])
    return fx.GraphModule(root, part)


def _after(root: _Whole, graph: Graph, row: int, value: fx.Node) -> nn.Module:
    """The part after `row`, which takes `value`."""
    part = fx.Graph()
    copied = {value: part.placeholder("features")}
    kept = (
        node for node in graph[: row + 1] if node.op == "get_attr" and any(user in graph[row:] for user in node.users)
    )
    for node in (*kept, *graph[row + 1 :]):
        copied[node] = part.node_copy(node, copied.__getitem__)
    return fx.GraphModule(root, part)


@torch.no_grad()
def _same(trunk: nn.Module, prefix: nn.Module, suffix: nn.Module, example: torch.Tensor) -> bool:
    """Whether the halves give the trunk's bits by way of one tensor of a row a slice, which the suffix leaves alone."""
    between = prefix(example)
    if not isinstance(between, torch.Tensor) or len(between) != len(example):
        return False
    kept = between.clone()
    return torch.equal(suffix(between), trunk(example)) and torch.equal(between, kept)
