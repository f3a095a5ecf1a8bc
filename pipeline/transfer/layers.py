"""The layers of a trunk: blocks from the stem up, the boundary that a phase names, the two halves at a boundary."""

from __future__ import annotations

import difflib
import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TypeVar

import torch
from torch import nn

from pipeline.errors import ConfigError, StemError

T = TypeVar("T")
#: The name by which `outputs` gives what the trunk itself gives.
TRUNK = "trunk"
#: What timm and torchvision call the row of blocks inside a stage or an encoder.
_ROWS = ("blocks", "layers")


@dataclass(frozen=True)
class Block:
    """A part of the trunk that is frozen or learns as a whole.

    Attributes:
        name: the path of its main module, such as `layer3.1`.
        modules: that module, and those without parameters that follow it (activations, pooling, dropout).
        parameters: all that learn with it, also those of no module in `modules` (a class token).
    """

    name: str
    modules: tuple[nn.Module, ...]
    parameters: tuple[nn.Parameter, ...]


def blocks(trunk: nn.Module) -> list[Block]:
    """The trunk's blocks from the stem up, in the order in which they were registered.

    Every parameter, and every module that is no mere container, stands in exactly one. What belongs to no module with
    parameters (dropout, a class token, position embeddings) stands with the block below it, or with the first.

    Raises:
        StemError: the trunk's parameters stand in no module at all.
    """
    names: list[str] = []
    modules: list[list[nn.Module]] = [[]]
    parameters: list[list[nn.Parameter]] = [[]]
    seen: set[int] = set()
    for path, part in _parts(trunk, ""):
        found = [part] if isinstance(part, nn.Parameter) else list(part.parameters())
        new = [parameter for parameter in found if id(parameter) not in seen]
        seen.update(map(id, new))
        if isinstance(part, nn.Module) and new:
            if names:
                modules.append([])
                parameters.append([])
            names.append(path)
        if isinstance(part, nn.Module):
            modules[-1].append(part)
        parameters[-1] += new
    if not names and seen:
        raise StemError("layers in the backbone", f"{len(seen)} parameters in none", "Choose another backbone.name.")
    rows = zip(names, modules, parameters, strict=False)
    return [Block(name, tuple(inside), tuple(learning)) for name, inside, learning in rows]


def _parts(module: nn.Module, path: str) -> Iterator[tuple[str, nn.Module | nn.Parameter]]:
    """What a container holds, containers in it opened: parameters of its own, then modules, each with its path."""
    for name, parameter in module.named_parameters(path.removesuffix("."), recurse=False):
        yield name, parameter
    for name, child in module.named_children():
        if _opened(child):
            yield from _parts(child, f"{path}{name}.")
        else:
            yield path + name, child


def _opened(module: nn.Module) -> bool:
    """Whether it is a container of blocks: by its type, or because it holds a row of them as a stage does."""
    if isinstance(module, nn.Sequential | nn.ModuleList | nn.ModuleDict):
        return True
    rows = (child for name, child in module.named_children() if name in _ROWS)
    return any(_alike(row) for row in rows if isinstance(row, nn.Sequential | nn.ModuleList))


def _alike(row: nn.Module) -> bool:
    """Whether its members are of one class and are made of layers themselves."""
    members = list(row.children())
    return len({type(member) for member in members}) == 1 and next(members[0].children(), None) is not None


def place(trunk: nn.Module, learning: str | float) -> int:
    """How many blocks, from the stem up, stay frozen.

    Args:
        trunk: the network.
        learning: the share 0..1 of its blocks that learn, or the name of the lowest block that does, or of a stage.

    Raises:
        ConfigError: no block has this name.
    """
    names = [block.name for block in blocks(trunk)]
    if isinstance(learning, str):
        found = [row for row, name in enumerate(names) if f"{name}.".startswith(f"{learning}.")]
        if not found:
            raise _unknown(trunk, learning)
        return found[0]
    return len(names) - math.ceil(learning * len(names))


def _unknown(trunk: nn.Module, name: str) -> ConfigError:
    """The error about a name that the trunk does not have, with those that are near to it."""
    paths = [block.name for block in blocks(trunk)]
    stages = dict.fromkeys(path.rpartition(".")[0] for path in paths if "." in path)
    near = difflib.get_close_matches(name, [*paths, *stages], n=4, cutoff=0.5)
    remedy = f"Near to it: {', '.join(near)}." if near else f"Its blocks: {', '.join(paths)}."
    return ConfigError("the name of a block of the backbone", repr(name), remedy)


@contextmanager
def recorded(modules: Iterable[nn.Module]) -> Iterator[list[tuple[nn.Module, torch.Tensor]]]:
    """Modules and the tensors that they give while it lasts, in the order in which they do; no tensor, no entry."""
    given: list[tuple[nn.Module, torch.Tensor]] = []

    def note(module: nn.Module, _inputs: object, output: object) -> None:
        if isinstance(output, torch.Tensor):
            given.append((module, output))

    handles = [module.register_forward_hook(note) for module in modules]
    try:
        yield given
    finally:
        for handle in handles:
            handle.remove()


@contextmanager
def outputs(
    trunk: nn.Module, names: Sequence[str], keep: Callable[[torch.Tensor], T]
) -> Iterator[Callable[[torch.Tensor], dict[str, T]]]:
    """Within it, a function from slices (N, 1, H, W) to what is kept of several layers' outputs, in one run.

    Args:
        trunk: the network; its mode and the gradient are the caller's affair.
        names: paths of blocks, stages or any other modules, or `TRUNK`.
        keep: what is kept of an output: maps (N, C, h, w), tokens (N, T, C), or (N, C) where a layer has no positions.
            It is asked before the next layer runs, which may write into them; so it must not keep them themselves.

    Raises:
        ConfigError: no such module, or it gives something else than one such tensor.
    """
    modules = {name: _module(trunk, name) for name in names}
    kept: dict[str, T] = {}
    rows: dict[str, int] = {}

    def hooked(name: str) -> Callable[[nn.Module, object, object], None]:
        def hook(_module: nn.Module, _inputs: object, output: object) -> None:
            values = _features(trunk, name, output)
            rows[name], kept[name] = len(values), keep(values)

        return hook

    def run(slices: torch.Tensor) -> dict[str, T]:
        rows.clear()
        trunk(slices)
        for name in names:
            if rows.get(name) != len(slices):
                raise _no_features(name, "not one row a slice")
        return {name: kept.pop(name) for name in names}

    handles = [module.register_forward_hook(hooked(name)) for name, module in modules.items()]
    try:
        yield run
    finally:
        for handle in handles:
            handle.remove()


def _module(trunk: nn.Module, name: str) -> nn.Module:
    """The module by its path, if it is one that runs."""
    found = trunk if name == TRUNK else dict(trunk.named_modules()).get(name)
    if found is None or name == "" or type(found).forward is nn.Module.forward:
        raise _unknown(trunk, name)
    return found


def _features(trunk: nn.Module, name: str, output: object) -> torch.Tensor:
    """An output with its channels where maps and tokens have them."""
    if not isinstance(output, torch.Tensor) or not 2 <= output.ndim <= 4:
        raise _no_features(name, f"a {type(output).__name__}")
    if output.ndim == 4 and _channels_come_last(trunk, output):
        output = output.permute(0, 3, 1, 2)
    return output


def _channels_come_last(trunk: nn.Module, maps: torch.Tensor) -> bool:
    """Slices are square and so are maps of them; where that does not tell, the network's own word does."""
    _, first, second, third = maps.shape
    if (first == second) != (second == third):
        return bool(first == second)
    return str(getattr(trunk, "output_fmt", "NCHW")).endswith("NHWC")


def _no_features(name: str, found: str) -> ConfigError:
    return ConfigError(f"maps, tokens or features from the layer {name}", found, "Name the block that it belongs to.")
