"""Results of `tests.benchmarks.accuracy` as one small file, which is kept with the sources.

Of each way and division the logits of the tested units, in the order of the workspace's slices, with what they were
measured with. Units, patients and labels are the workspace's: without one the file says nothing of anybody.
"""

from __future__ import annotations

import io
import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from pipeline.clinical.units import units_of
from pipeline.files import read_csv, read_json, write_atomic, write_csv
from tests.benchmarks import settings

DECIMALS = 4


def lay_out(store: Path, out: Path, indices: Mapping[str, list[dict[str, str]]]) -> None:
    """Write those results of a store that are no files yet, after seeing that their settings are those of the folder.

    Args:
        store: what `collect` wrote; it may not be there yet.
        out: folder of results.
        indices: slices.csv as each division has it, by the division's name; others in the store are left alone.

    Raises:
        ConfigError: measured with other settings.
    """
    if not store.exists():
        return
    with np.load(store) as kept:
        settings.require_same(out, json.loads(str(kept["settings"])))
        for key in (key for key in kept.files if key != "settings"):
            way, name = key.split("/")
            path = out / way / f"{name}.csv"
            if name in indices and not path.exists():
                rows = _rows(indices[name], kept[key])
                write_csv(path, rows[0], rows)


def _rows(index: list[dict[str, str]], logits: np.ndarray) -> list[dict[str, Any]]:
    units = units_of(index, "test")
    return [
        {"side": "test", "unit": unit, "patient": patient, "label": int(label), "logit": round(float(logit), DECIMALS)}
        for unit, patient, label, logit in zip(units.ids, units.patients, units.labels[:, 0], logits, strict=True)
    ]


def collect(out: Path, store: Path, ways: Iterable[str]) -> None:
    """Add all results of a folder to a store, in place of those that it has of the same divisions."""
    found: dict[str, Any] = {}
    if store.exists():
        with np.load(store) as kept:
            found |= kept
    found["settings"] = json.dumps(read_json(out / settings.FILE), sort_keys=True)
    for way in ways:
        for path in sorted((out / way).glob("size*-seed*-fold*.csv")):
            logits = [float(row["logit"]) for row in read_csv(path) if row["side"] == "test"]
            found[f"{way}/{path.stem}"] = np.round(np.array(logits, np.float32), DECIMALS)
    packed = io.BytesIO()
    np.savez_compressed(packed, **found)
    write_atomic(store, lambda handle: handle.write(packed.getvalue()))
