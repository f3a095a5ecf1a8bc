"""How long a `dvc repro` with nothing to do takes, against that of an empty two-stage project.

`python tests/benchmarks/noop.py [PROJECT]`, where everything in PROJECT is up to date. Prints medians in seconds and
their ratio. By default both report no usage; `--as-dvc-inits-it` leaves DVC's own defaults to the empty project, whose
report then goes to a closed port of this machine.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

DAG = """
stages:
  first: {cmd: echo 1 > first.txt, outs: [first.txt]}
  second: {cmd: echo 2 > second.txt, deps: [first.txt], outs: [second.txt]}
"""
ENVIRONMENT = {
    **os.environ,
    "PATH": os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]]),
    # Nothing leaves this machine.
    "HTTP_PROXY": "http://127.0.0.1:9",
    "HTTPS_PROXY": "http://127.0.0.1:9",
}


def main() -> None:
    """Time both, one after the other and again, so that a busy machine is busy for both."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("project", nargs="?", type=Path, default=Path.cwd())
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--as-dvc-inits-it", action="store_true")
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        empty = _empty(Path(folder), defaults=asked.as_dvc_inits_it)
        seconds: dict[str, list[float]] = {"empty": [], "project": []}
        for _ in range(asked.repeats):
            seconds["empty"].append(_noop(empty))
            seconds["project"].append(_noop(asked.project))
    medians = {name: round(statistics.median(times), 3) for name, times in seconds.items()}
    print(json.dumps(medians | {"ratio": round(medians["project"] / medians["empty"], 3)}))


def _empty(folder: Path, *, defaults: bool) -> Path:
    """Two stages that have run."""
    (folder / "dvc.yaml").write_text(DAG)
    commands = [["git", "init", "--quiet"], ["dvc", "init", "--quiet"]]
    if not defaults:
        commands += [["dvc", "config", f"core.{name}", "false"] for name in ("analytics", "check_update")]
    for command in [*commands, ["dvc", "repro", "--quiet"]]:
        subprocess.run(command, cwd=folder, env=ENVIRONMENT | {"DVC_NO_ANALYTICS": "1"}, check=True)
    return folder


def _noop(folder: Path) -> float:
    """Seconds of one `dvc repro` that has nothing to do."""
    begin = time.perf_counter()
    done = subprocess.run(["dvc", "repro"], cwd=folder, env=ENVIRONMENT, check=True, capture_output=True, text=True)
    seconds = time.perf_counter() - begin
    if "Running stage" in done.stdout:
        sys.exit(f"{folder} was not up to date")
    return seconds


if __name__ == "__main__":
    main()
