"""A YAML file as a typed model."""

from __future__ import annotations

from pathlib import Path
from typing import TypeVar

import yaml
from pydantic import BaseModel, ValidationError

from pipeline.errors import ConfigError
from pipeline.typed import explain

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
