"""What 1 % new studies cost an ingest that has read the rest, against an ingest of all from nothing.

`python -m tests.benchmarks.incremental [--series 500] [--slices 20] [--size 256] [--new 0.01]` makes a folder of 50
simulated series and copies of them under other UIDs, runs the stage as a program without the new series, with nothing
new, with them, and from nothing by all cores and by one process, and prints seconds and shares as JSON.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import yaml

from tests.benchmarks.ingest_series import make

#: Series that are simulated one by one, which takes long; more are copies.
SIMULATED = 50

ROOT = Path(__file__).resolve().parents[2]


def main() -> None:
    """Simulate, measure, print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--series", type=int, default=500)
    parser.add_argument("--slices", type=int, default=20)
    parser.add_argument("--size", type=int, default=256)
    parser.add_argument("--new", type=float, default=0.01)
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        print(json.dumps(_measure(Path(folder), asked)))


def _measure(folder: Path, asked: argparse.Namespace) -> dict[str, float]:
    scans, aside, new = folder / "scans", folder / "aside", max(1, round(asked.series * asked.new))
    made = _many(scans, asked.size, asked.series, asked.slices)
    aside.mkdir()
    for path in made[-new:]:
        path.rename(aside / path.name)
    params = yaml.safe_load((ROOT / "params.yaml").read_text())
    params["data"].update(dicom_dir=str(scans), labels=None)
    params["ingest"].update(contrasts=None)
    (folder / "params.yaml").write_text(yaml.safe_dump(params))
    seconds = {"before": _ingest(folder, "cache"), "nothing_new": _ingest(folder, "cache")}
    for path in aside.iterdir():
        path.rename(scans / path.name)
    seconds["new"] = _ingest(folder, "cache")
    seconds["from_nothing"] = _ingest(folder, "empty")
    params["ingest"]["workers"] = 1
    (folder / "params.yaml").write_text(yaml.safe_dump(params))
    seconds["by_one_process"] = _ingest(folder, "other")
    whole = seconds["from_nothing"]
    return {
        "files": asked.series * asked.slices,
        "new_files": new * asked.slices,
        **{f"{name}_s": round(value, 2) for name, value in seconds.items()},
        "nothing_new_share": round(seconds["nothing_new"] / whole, 4),
        "new_share": round(seconds["new"] / whole, 4),
        "cores": len(os.sched_getaffinity(0)),
        "gain_by_cores": round(seconds["by_one_process"] / whole, 2),
    }


def _many(scans: Path, size: int, series: int, slices: int) -> list[Path]:
    """Folders of `series` series: simulated ones, then copies of them whose UIDs end in the copy's number."""
    folders = make(scans, size, min(series, SIMULATED), slices, compressed=False)
    contents = [[(path.name, path.read_bytes(), _uids(path)) for path in sorted(each.iterdir())] for each in folders]
    for number in range(SIMULATED, series):
        target = scans / f"copy-{number}"
        target.mkdir()
        for name, content, uids in contents[number % SIMULATED]:
            for uid in uids:
                content = content.replace(uid, uid[:-6] + b"%06d" % number)
            (target / name).write_bytes(content)
        folders.append(target)
    return folders


def _uids(path: Path) -> set[bytes]:
    """The UIDs of a file that are its own: those of the standard begin otherwise."""
    return set(re.findall(rb"2\.25\.\d+", path.read_bytes()))


def _ingest(folder: Path, cache: str) -> float:
    """Seconds of the stage with this cache; the outputs are gone before, as under DVC."""
    environment = os.environ | {"PYTHONPATH": str(ROOT), "XDG_CONFIG_HOME": str(folder / "config")}
    environment["XDG_CACHE_HOME"] = str(folder / cache)
    subprocess.run(["rm", "-rf", "data"], cwd=folder, check=True)
    begin = time.perf_counter()
    command = [sys.executable, "-m", "pipeline.stages.ingest"]
    done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True)
    if done.returncode:
        sys.exit(done.stderr)
    return time.perf_counter() - begin


if __name__ == "__main__":
    main()
