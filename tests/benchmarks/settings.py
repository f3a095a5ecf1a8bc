"""What the results of a folder were measured with, so that no others come among them."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

from pipeline.config import Params
from pipeline.errors import ConfigError
from pipeline.files import read_csv, read_json, sha256_file, write_json
from pipeline.stages.features import BACKBONE, PREPARED

FILE = "settings.json"
#: Of params.yaml, what decides a result.
SECTIONS = ("seed", "prepare", "backbone", "finetune", "scratch", "calibrate")


def of(params: Params, **command_line: Any) -> dict[str, Any]:
    """What a measurement in the current folder depends on, the code apart.

    Args:
        params: of the workspace, with what the command line sets of them.
        command_line: what else it sets that decides a result.
    """
    units = [[row[key] for key in ("unit", "patient", "label")] for row in read_csv(PREPARED / "slices.csv")]
    asked = params.model_dump(mode="json", include=set(SECTIONS))
    return {
        "params": asked | {"features": params.features.model_dump(mode="json", include={"probe_c", "pooling"})},
        "command_line": command_line,
        "sha256": {
            "slices.npy": sha256_file(PREPARED / "slices.npy"),
            "units": hashlib.sha256(json.dumps(units).encode()).hexdigest(),
            "backbone.safetensors": sha256_file(BACKBONE / "backbone.safetensors"),
        },
    }


def require_same(out: Path, wanted: dict[str, Any]) -> None:
    """See that the results in `out` were measured with these settings; where nothing says so, note them.

    Raises:
        ConfigError: with others.
    """
    path, wanted = out / FILE, json.loads(json.dumps(wanted))
    if not path.exists():
        if any(out.rglob("*.csv")):
            print(f"{path} was not there: the results in {out} are taken for those of the present settings")
        write_json(path, wanted)
        return
    before, now = _flat(read_json(path)), _flat(wanted)
    keys = [key for key in sorted(before.keys() | now.keys()) if before.get(key) != now.get(key)]
    if keys:
        raise ConfigError(
            f"the settings with which the results in {out} were measured",
            "; ".join(f"{key}: {now.get(key)} and not {before.get(key)}" for key in keys),
            "Set them back, or choose another folder by --out.",
        )


def _flat(value: Any, path: str = "") -> dict[str, Any]:
    """The leaves by their paths, lists being leaves."""
    if not isinstance(value, dict):
        return {path: value}
    found: dict[str, Any] = {}
    for key, part in value.items():
        found |= _flat(part, f"{path}.{key}" if path else key)
    return found
