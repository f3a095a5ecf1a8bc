"""A YAML file as a typed model, and what is wrong with it as a sentence for its reader."""

from __future__ import annotations

import difflib
from collections.abc import Sequence
from pathlib import Path
from typing import Any, TypeVar, get_args

import yaml
from pydantic import BaseModel, ValidationError

from pipeline.errors import ConfigError

Model = TypeVar("Model", bound=BaseModel)


def read(path: Path, model: type[Model]) -> Model:
    """Read and validate a file.

    Raises:
        ConfigError: no such file, no YAML, an unknown key (the message names the nearest valid one) or a bad value.
    """
    if not path.is_file():
        raise ConfigError(f"the parameters in {path}", "no such file", "Run the command in the project's folder.")
    try:
        raw = yaml.safe_load(path.read_text(encoding="utf-8"))
    except yaml.YAMLError as error:
        raise ConfigError(f"YAML in {path}", " ".join(str(error).split()), "Mend the line that it names.") from error
    try:
        return model.model_validate(raw)
    except ValidationError as error:
        raise explain(model, error.errors(), path) from error


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
        return ConfigError(f"key {name!r} in {path}", "none", "Add it; the shipped params.yaml shows a value.")
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
