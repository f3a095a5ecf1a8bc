"""How long reading DICOM takes: this ingest, pydicom, MONAI, SimpleITK, dcm2niix and raw `read()`, on the same files.

    python -m tests.benchmarks.ingest [FOLDER] [--repeats 5] [--series 4] [--slices 24]

The files are simulated (`ingest_series`), below FOLDER, by default a temporary one; they lie in the system's cache. One
reader comes after the other and all of them again, so that a busy machine is busy for all; the least time of each
counts, on one core and with the series shared out to two processes that have started already. Every reader's values
must be equal, bit for bit, to those that were simulated. Writes reports/benchmarks/ingest.json and prints a table.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import tempfile
import time
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from importlib.metadata import version
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import numpy as np

from pipeline.config import Params
from pipeline.config import load as load_params
from pipeline.dicom.load import load
from pipeline.stages.ingest import ingest
from tests.benchmarks import ingest_readers as readers
from tests.benchmarks import ingest_series as made

OUT = Path("reports/benchmarks/ingest.json")
KINDS = {
    "256² uncompressed": (256, False),
    "512² uncompressed": (512, False),
    "256² JPEG 2000": (256, True),
    "512² JPEG 2000": (512, True),
}
READERS: dict[str, Callable[[Path], Any]] = {
    reader.__name__: reader
    for reader in (readers.ours, readers.raw, readers.pydicom, readers.monai, readers.simpleitk, readers.dcm2niix)
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", nargs="?", type=Path)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--series", type=int, default=4)
    parser.add_argument("--slices", type=int, default=24)
    parser.add_argument("--only", choices=[*KINDS], nargs="*", default=[*KINDS])
    asked = parser.parse_args()
    found: dict[str, Any] = {"conditions": conditions(asked)}
    with tempfile.TemporaryDirectory() as scratch:
        for kind in asked.only:
            size, compressed = KINDS[kind]
            parent = (asked.folder or Path(scratch)) / kind.replace(" ", "-")
            folders = made.make(parent, size, asked.series, asked.slices, compressed)
            check(folders, size, asked.slices)
            found[kind] = measure(folders, asked, compressed)
            found[kind]["whole ingest"] = whole(parent, folders, asked.series * asked.slices)
            print(table(kind, found[kind]), flush=True)
    OUT.parent.mkdir(parents=True, exist_ok=True)
    OUT.write_text(json.dumps(found, indent=1, ensure_ascii=False) + "\n")


def conditions(asked: argparse.Namespace) -> dict[str, Any]:
    names = ("numpy", "pydicom", "monai", "SimpleITK", "pylibjpeg-openjpeg")
    model = next((line for line in Path("/proc/cpuinfo").read_text().splitlines() if line.startswith("model name")), "")
    return {
        "cpu": model.partition(":")[2].strip(),
        "cores": os.cpu_count(),
        "python": platform.python_version(),
        **{name: version(name) for name in names},
        **{name: getattr(asked, name) for name in ("repeats", "series", "slices")},
        "load at start": round(os.getloadavg()[0], 2),
    }


def check(folders: list[Path], size: int, slices: int) -> None:
    """Every reader gives the values that were simulated, bit for bit."""
    expected = made.anatomy(size, slices, 0) * np.float64(made.SLOPE) + made.INTERCEPT
    for name, reader in READERS.items():
        if name != "raw":
            np.testing.assert_array_equal(np.asarray(reader(folders[0]), np.float64), expected, err_msg=name)


def measure(folders: list[Path], asked: argparse.Namespace, compressed: bool) -> dict[str, Any]:
    """Milliseconds a file of each reader, on one core and on two."""
    chosen = READERS | {"control": readers.control} | ({"codec": readers.codec} if compressed else {})
    taken: dict[str, dict[str, list[float]]] = {name: {"one": [], "two": []} for name in chosen}
    work = folders * (1 if compressed else max(1, 12 // asked.series))  # so much that handing it out does not count
    both = [partial(_silent, reader) for reader in chosen.values()]
    with ProcessPoolExecutor(2, mp_context=get_context("spawn")) as pool:
        for function in both:  # so that both workers have imported, and taken out the frames
            list(pool.map(function, folders))
            function(folders[0])
        for _ in range(asked.repeats):
            for name, function in zip(chosen, both, strict=True):
                taken[name]["one"].append(_timed(lambda f=function: list(map(f, work))))
                taken[name]["two"].append(_timed(lambda f=function: list(pool.map(f, work))))
    files = len(work) * asked.slices
    result: dict[str, Any] = {"ms a file": {}, "ms a file, two processes": {}, "median ms a file": {}}
    for name, times in taken.items():
        result["ms a file"][name] = round(min(times["one"]) / files * 1e3, 4)
        result["ms a file, two processes"][name] = round(min(times["two"]) / files * 1e3, 4)
        result["median ms a file"][name] = round(float(np.median(times["one"])) / files * 1e3, 4)
    return result


def whole(parent: Path, folders: list[Path], files: int) -> dict[str, float]:
    """Milliseconds a file, in one process: of reading with the hash, and of all that the stage does, down to NIfTI."""
    result = {"load": min(_timed(lambda: list(load(parent, None, 1))) for _ in range(2))}
    here = Path.cwd()
    params = load_params()
    with tempfile.TemporaryDirectory() as scratch:
        rows = [f"{made.uid(folder.name, 'series')},{place % 2}" for place, folder in enumerate(folders)]
        labels = Path(scratch, "labels.csv")
        labels.write_text("\n".join(["SeriesInstanceUID,label", *rows]) + "\n")
        os.environ["XDG_CONFIG_HOME"] = scratch  # the key for pseudonyms
        os.environ["XDG_CACHE_HOME"] = scratch  # what it remembers
        os.chdir(scratch)
        try:
            result["stage"] = _timed(lambda: ingest(_params(params, parent, labels)))
        finally:
            os.chdir(here)
    return {name: round(seconds / files * 1e3, 4) for name, seconds in result.items()}


def _params(params: Params, folder: Path, labels: Path) -> Params:
    data = params.data.model_copy(update={"dicom_dir": folder.resolve(), "labels": labels})
    return params.model_copy(update={"data": data, "ingest": params.ingest.model_copy(update={"workers": 1})})


def _silent(reader: Callable[[Path], Any], folder: Path) -> None:
    """The time of reading counts, not that of sending the values to another process."""
    reader(folder)


def _timed(function: Callable[[], Any]) -> float:
    begin = time.perf_counter()
    function()
    return time.perf_counter() - begin


def table(kind: str, found: dict[str, Any]) -> str:
    one, two = found["ms a file"], found["ms a file, two processes"]
    lines = [f"{kind:20} {'ms/file':>9} {'/ ours':>7} {'2 procs':>9} {'gain':>6}"]
    for name, value in one.items():
        lines.append(f"  {name:18} {value:9.3f} {value / one['ours']:7.2f} {two[name]:9.3f} {value / two[name]:6.2f}")
    lines.extend(f"  {'ingest: ' + name:18} {value:9.3f}" for name, value in found["whole ingest"].items())
    return "\n".join(lines)


if __name__ == "__main__":
    main()
