"""Calls held against the signatures of the real `tensorrt_rtx` and `cuda-bindings`, which need no GPU to be asked."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

import tensorrt_rtx
from cuda.bindings import driver

#: Types of pybind11's signatures, and what fits them.
_PLAIN: dict[str, tuple[type, ...]] = {
    "str": (str,),
    "bool": (bool,),
    "int": (int,),
    "typing.SupportsInt": (int,),
    "tuple": (tuple,),
    "list": (list,),
    "typing_extensions.Buffer": (bytes, bytearray, memoryview),
}


def _split(arguments: str) -> list[str]:
    """At the commas that are in no bracket."""
    parts, depth = [""], 0
    for letter in arguments:
        depth += (letter in "[(<") - (letter in "])>")
        if letter == "," and not depth:
            parts.append("")
        else:
            parts[-1] += letter
    return [part.strip() for part in parts if part.strip()]


def overloads(function: Any) -> list[list[tuple[str, str, bool]]]:
    """Of each signature that pybind11 documents, the arguments but `self`: name, type, and whether it has a default."""
    found = re.findall(rf"^(?:\d+\. )?{function.__name__}\((.*)\) ->", function.__doc__, re.MULTILINE)
    signatures = []
    for arguments in found:
        if arguments == "*args, **kwargs":
            continue
        parts = [re.fullmatch(r"(\w+): (.*?)( = .*)?", part) for part in _split(arguments)]
        named = [(match[1], match[2], match[3] is not None) for match in parts if match]
        assert len(named) == len(parts), arguments
        signatures.append([argument for argument in named if argument[0] != "self"])
    assert signatures, function.__doc__
    return signatures


def _fits(signature: list[tuple[str, str, bool]], args: tuple[Any, ...], named: dict[str, Any]) -> bool:
    names = [name for name, _, _ in signature]
    if len(args) > len(names) or set(named) - set(names[len(args) :]):
        return False
    given = dict(zip(names, args, strict=False)) | named
    if any(not optional and name not in given for name, _, optional in signature):
        return False
    return all(_is_a(given[name], kind) for name, kind, _ in signature if name in given)


def _is_a(value: Any, kind: str) -> bool:
    if kind in _PLAIN:
        return isinstance(value, _PLAIN[kind])
    name = kind.rpartition(".")[2].rpartition(":")[2]
    return isinstance(value, getattr(tensorrt_rtx, name)) or getattr(value, "REAL", None) == name


class Checked:
    """Stands for an object of the real module: it has what that has, and takes what that takes."""

    REAL: str

    def __init__(self, *args: Any, **named: Any) -> None:
        self._start(*args, **named)

    def __getattribute__(self, name: str) -> Any:
        value = object.__getattribute__(self, name)
        if name.startswith("_") or name == "REAL":
            return value
        real = getattr(getattr(tensorrt_rtx, object.__getattribute__(self, "REAL")), name)
        return _checked(real, value) if callable(value) else value

    def __setattr__(self, name: str, value: Any) -> None:
        if not name.startswith("_"):
            kind = getattr(getattr(tensorrt_rtx, self.REAL), name)
            assert isinstance(kind, property), name
            assert kind.fset is not None, name
        object.__setattr__(self, name, value)

    def _start(self) -> None:
        """What an object of this kind begins with."""


def _checked(real: Any, value: Callable[..., Any]) -> Callable[..., Any]:
    def call(*args: Any, **named: Any) -> Any:
        assert any(_fits(signature, args, named) for signature in overloads(real)), (real.__name__, args, named)
        return value(*args, **named)

    return call


def driver_call(name: str, args: tuple[Any, ...], result: tuple[Any, ...]) -> None:
    """Hold a call of CUDA's driver API, and what came back, against its documentation."""
    first, _, rest = (getattr(driver, name).__doc__ or "").partition("\n")
    head = re.match(rf"{name}\((.*)\)", first)
    assert head, name
    assert len(args) == len(_split(head[1])), (name, args)
    returns = re.search(r"^( *)Returns\n *-------\n(.*?)(?:\n\n\1\S+[^\n]*\n *---|\Z)", rest, re.DOTALL | re.MULTILINE)
    assert returns, name
    entries = [line for line in returns[2].splitlines() if re.match(rf"{returns[1]}\S", line)]
    assert len(result) == len(entries), (name, entries)
