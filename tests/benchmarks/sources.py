"""What a `dvc repro` with nothing to do takes where the folder of scans holds many files.

`python -m tests.benchmarks.sources [COUNT]` makes a project and a folder of COUNT small files (1,000,000 need 4 GB) and
lets DVC believe that ingest has read them. It prints as JSON seconds and the peak memory of the stage `sources`: the
first time, with nothing new (the median of three), and with one new file.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import yaml

ROOT = Path(__file__).resolve().parents[2]
FILES_PER_FOLDER = 100
BYTES = 256
SOURCES = "data/own/dvc.yaml:sources"


def main() -> None:
    """Make the files, measure, print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("count", nargs="?", type=int, default=1_000_000)
    parser.add_argument("--below", type=Path, help="where the files go, and are removed again; a disk, not a tmpfs")
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory(dir=asked.below) as folder:
        print(json.dumps(measure(Path(folder), asked.count)))


def measure(folder: Path, count: int, repeats: int = 3) -> dict[str, float]:
    """Seconds and MB for `count` files below `folder`, which is empty."""
    scans = folder / "scans"
    _fill(scans, count)
    project = _project(folder / "project", scans)
    environment = os.environ | {
        "PATH": os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]]),
        "XDG_CACHE_HOME": str(folder / "cache"),
        "DVC_SITE_CACHE_DIR": str(folder / "site"),
        "DVC_NO_ANALYTICS": "1",
    }

    def run(*command: str) -> str:
        done = subprocess.run(command, cwd=project, env=environment, capture_output=True, text=True, check=False)
        if done.returncode:
            sys.exit(done.stderr)
        return done.stdout

    for command in (("git", "init", "--quiet"), ("dvc", "init", "--quiet")):
        run(*command)
    first = _seconds(lambda: run("dvc", "repro", SOURCES))
    run("dvc", "commit", "--force", "--quiet", "ingest")

    def no_op() -> None:
        said = run("dvc", "repro", "ingest")
        assert "Stage 'ingest' didn't change, skipping" in said, said

    nothing = statistics.median(_seconds(no_op) for _ in range(repeats))
    quiet = _alone(project, environment)
    (scans / "new").write_bytes(b"new")
    new = _alone(project, environment)
    return {
        "files": count,
        "first_s": round(first, 2),
        "nothing_new_s": round(nothing, 2),
        "nothing_new_stage_cpu_s": round(quiet.cpu_s, 2),
        "nothing_new_stage_peak_mb": round(quiet.peak_mb),
        "one_new_file_stage_s": round(new.seconds, 2),
        "one_new_file_stage_cpu_s": round(new.cpu_s, 2),
        "one_new_file_stage_peak_mb": round(new.peak_mb),
    }


class _Cost(NamedTuple):
    seconds: float
    cpu_s: float
    peak_mb: float


def _fill(scans: Path, count: int) -> None:
    for place in range(0, count, FILES_PER_FOLDER):
        folder = scans / f"{place // FILES_PER_FOLDER // 100:03}/{place // FILES_PER_FOLDER % 100:02}"
        folder.mkdir(parents=True)
        for number in range(place, min(count, place + FILES_PER_FOLDER)):
            (folder / f"{number:08}.dcm").write_bytes(b"%0*d" % (BYTES, number))


def _project(project: Path, scans: Path) -> Path:
    """This checkout's stages as far as ingest, and outputs that ingest might have written."""
    shutil.copytree(ROOT / "pipeline", project / "pipeline", ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("dvc.yaml", "data/own/dvc.yaml", "data/withdrawn.csv", "data/.gitignore", ".dvcignore"):
        (project / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy2(ROOT / name, project / name)
    params = yaml.safe_load((ROOT / "params.yaml").read_text())
    params["data"].update(dicom_dir=str(scans), labels=str(project / "labels.csv"))
    (project / "params.yaml").write_text(yaml.safe_dump(params))
    (project / "labels.csv").write_text("SeriesInstanceUID,label\n")
    (project / "data/ingested").mkdir()
    (project / "data/ingested/index.csv").write_text("series\n")
    return project


def _alone(project: Path, environment: dict[str, str]) -> _Cost:
    """What the stage costs as DVC starts it."""
    begin = time.perf_counter()
    command = [sys.executable, "-m", "pipeline.stages.sources"]
    with subprocess.Popen(command, cwd=project, env=environment, stderr=subprocess.DEVNULL) as process:
        _, status, usage = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
    assert process.returncode == 0
    return _Cost(time.perf_counter() - begin, usage.ru_utime + usage.ru_stime, usage.ru_maxrss / 1000)


def _seconds(run: Callable[[], object]) -> float:
    begin = time.perf_counter()
    run()
    return time.perf_counter() - begin


if __name__ == "__main__":
    main()
