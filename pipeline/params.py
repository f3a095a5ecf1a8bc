"""Set values in params.yaml from a command line, comments kept: `python -m pipeline.params backbone.weights=file`.

Without an assignment it checks the file, and that the data is there.

A key is written with dots, a place in a list by its number (`finetune.phases.0.epochs=3`); a value is YAML.
"""

from __future__ import annotations

import io
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from rich.console import Console
from ruamel.yaml import YAML
from ruamel.yaml.error import YAMLError
from ruamel.yaml.nodes import ScalarNode
from ruamel.yaml.representer import RoundTripRepresenter

from pipeline import config, data_config
from pipeline.dicom.pseudonym import DEMO
from pipeline.errors import ConfigError, PipelineError
from pipeline.files import write_text

PARAMS = Path("params.yaml")
USAGE = "KEY=VALUE with the key in dots, for example backbone.weights=hub"


def update(path: Path, assignments: Sequence[str]) -> None:
    """Write each `KEY=VALUE` of `assignments` into the params.yaml at `path`; all of them or, on an error, none.

    Raises:
        ConfigError: no such file, an unknown key (the message names the nearest) or a bad value.
    """
    config.load(path)
    yaml = _yaml()
    document = yaml.load(path.read_text(encoding="utf-8"))
    for assignment in assignments:
        key, equals, value = assignment.partition("=")
        if not (key and equals):
            raise ConfigError(USAGE, repr(assignment), "Write the key, an equals sign and the value.")
        _assign(document, key.split("."), _parsed(key, value))
    text = io.StringIO()
    yaml.dump(document, text)
    _validate(text.getvalue(), path)
    write_text(path, text.getvalue())


def check(params: config.Params, project: Path = Path()) -> None:
    """See that the scans and labels are there, which DVC would say in fewer words, and used by a stated right.

    Args:
        params: the whole of params.yaml.
        project: the folder that relative paths start from.

    Raises:
        ConfigError: one of them is missing, the embedded demo makes its own; there are no labels; or the scans are
            neither the demo's nor given by an absolute path, from which DVC knows which stage writes their manifest;
            or `source` and `licence` do not speak of them, so that `accept` would refuse whatever is trained.
    """
    if params.data.labels is None:
        remedy = "Set it to a CSV file; without labels, run `python -m pipeline.stages.ingest` alone."
        raise ConfigError("data.labels in params.yaml, which `dvc repro` needs", "null", remedy)
    for key, path in (("data.dicom_dir", params.data.dicom_dir), ("data.labels", params.data.labels)):
        if not path.is_relative_to(data_config.DEMO) and not (project / path).exists():
            raise ConfigError(f"{key} in params.yaml to exist", f"no {path}", "Write the path from the root: /...")
    scans = params.data.dicom_dir
    if not scans.is_absolute() and scans != DEMO:
        raise ConfigError("an absolute data.dicom_dir in params.yaml", str(scans), "Write the path from the root: /...")
    for key, why in params.data.unstated.items():
        remedy = f"Write {'who gave the data' if key == 'source' else 'by what right they are used'}."
        raise ConfigError(f"data.{key} of your own data in params.yaml", why, remedy)


def _yaml() -> YAML:
    """Round-trip YAML in the style of the shipped params.yaml, which it gives back byte for byte."""
    yaml = YAML()
    yaml.width = 4096
    yaml.preserve_quotes = True
    yaml.indent(mapping=2, sequence=4, offset=2)
    yaml.representer.add_representer(type(None), _null)
    return yaml


def _null(representer: RoundTripRepresenter, _value: None) -> ScalarNode:
    return representer.represent_scalar("tag:yaml.org,2002:null", "null")


def _parsed(key: str, value: str) -> Any:
    """The value as YAML says it."""
    try:
        return YAML(typ="safe", pure=True).load(value)
    except YAMLError as error:
        raise ConfigError(f"YAML as the value of {key}", repr(value), "Quote it for the shell and for YAML.") from error


def _assign(document: Any, place: list[str], value: Any) -> None:
    """Set the value at `place`; a last key that is not there is added, for the validation to judge."""
    inner = document
    for depth, part in enumerate(place[:-1]):
        inner = _at(inner, part, place[: depth + 1])
    if isinstance(inner, list):
        _at(inner, place[-1], place)
        inner[int(place[-1])] = value
    elif isinstance(inner, dict):
        inner[place[-1]] = value
    else:
        raise ConfigError("a section or list", f"{'.'.join(place[:-1])}, which holds a value", f"Write {USAGE}.")


def _at(inner: Any, part: str, place: list[str]) -> Any:
    """What stands under `part`; an empty section where there is none, which the validation then names."""
    if isinstance(inner, dict):
        return inner.setdefault(part, {})
    if isinstance(inner, list) and part.isdecimal() and int(part) < len(inner):
        return inner[int(part)]
    raise ConfigError("a key of params.yaml", ".".join(place), f"Write {USAGE}; lists count from 0.")


def _validate(text: str, path: Path) -> None:
    """What every stage will check when it reads the file, before it is written."""
    with tempfile.TemporaryDirectory() as folder:
        draft = Path(folder) / path.name
        draft.write_text(text, encoding="utf-8")
        try:
            config.load(draft)
        except ConfigError as error:
            expected = error.expected.replace(str(draft), str(path))
            raise ConfigError(expected, error.found, error.remedy) from error


def main(arguments: Sequence[str]) -> int:
    """Set the values in ./params.yaml, or check it; exit 1 with a message when one of them cannot be used."""
    console = Console(stderr=True, soft_wrap=True, highlight=False)
    try:
        if arguments:
            update(PARAMS, arguments)
        else:
            check(config.load(PARAMS))
    except PipelineError as error:
        console.print(f"{type(error).__name__}: {error}", markup=False)
        return 1
    for assignment in arguments or ["usable"]:
        console.print(f"params.yaml: {assignment}", markup=False)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
