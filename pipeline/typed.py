"""What is wrong with a file of settings, as a sentence for its reader."""

from __future__ import annotations

import difflib
from collections.abc import Sequence
from pathlib import Path
from typing import Any, get_args

from pydantic import BaseModel

from pipeline.errors import ConfigError


def explain(params: type[BaseModel], problems: Sequence[Any], path: Path) -> ConfigError:
    """A ConfigError for one of pydantic's findings about `params`, naming the nearest valid key."""
    # A mistyped key is also a missing one; the mistype is what to mend.
    problem = next((found for found in problems if found["type"] == "extra_forbidden"), problems[0])
    place = list(problem["loc"])
    name = ".".join(str(part) for part in place) or "the file"
    if problem["type"] == "extra_forbidden":
        known = _keys_at(params, place[:-1])
        near = difflib.get_close_matches(str(place[-1]), known, n=1, cutoff=0.0)
        remedy = f"Did you mean {near[0]!r}? " if near else ""
        return ConfigError(
            f"a known key in {path}", f"unknown key {name!r}", f"{remedy}Known there: {', '.join(sorted(known))}."
        )
    if problem["type"] == "missing":
        return ConfigError(f"key {name!r} in {path}", "none", "Add it; the documentation shows a value.")
    message = problem["msg"].removeprefix("Value error, ")
    return ConfigError(f"a usable value for {name} in {path}", f"{problem['input']!r}: {message}", "Change that value.")


def _keys_at(params: type[BaseModel], place: list[Any]) -> list[str]:
    """The keys that the model at `place` of params.yaml knows."""
    model: Any = params
    for part in place:
        if isinstance(part, int):
            continue
        fields = {field.alias or name: field.annotation for name, field in model.model_fields.items()}
        model = _model_in(fields.get(part))
    return [field.alias or name for name, field in model.model_fields.items()]


def _model_in(annotation: Any) -> Any:
    """The section's model inside an annotation such as `list[Phase]`."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return annotation
    for inner in get_args(annotation):
        found = _model_in(inner)
        if found is not None:
            return found
    return None
