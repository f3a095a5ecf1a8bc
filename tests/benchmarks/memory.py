"""How much memory ingest takes with few series and with many.

    python -m tests.benchmarks.memory [--series 200 20000] [--files 3] [--workers 2] [--scratch FOLDER]

Writes that many small simulated series below a temporary folder, ingests them without labels in a process of its own,
and prints the peak resident memory of that process and of the largest of its workers side by side, in MiB.
"""

from __future__ import annotations

import argparse
import io
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import yaml

from tests.benchmarks.ingest_series import dataset, uid

ROOT = Path(__file__).parents[2]
PIXELS = 16
EVERY_S = 0.1
#: What differs from file to file stands in the template in words as long as what takes their place.
PATIENT, SERIES, STUDY, INSTANCE, PLACE = "P" * 10, "1.1" + "0" * 37, "1.2" + "0" * 37, "1.3" + "0" * 37, "-30.0000"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--series", type=int, nargs="+", default=[200, 20_000])
    parser.add_argument("--files", type=int, default=3, help="of each series")
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--scratch", type=Path, help="an existing folder for the series and what is made of them")
    asked = parser.parse_args()
    print(f"{'series':>8}{'files':>9}{'seconds':>9}{'ingest, MiB':>13}{'worker, MiB':>13}")
    for series in asked.series:
        with tempfile.TemporaryDirectory(dir=asked.scratch) as scratch:
            make(Path(scratch) / "scans", series, asked.files)
            seconds, own, worker = measure(Path(scratch), asked.workers)
        shown = f"{worker:13.1f}" if worker else f"{'none':>13}"
        print(f"{series:8}{series * asked.files:9}{seconds:9.1f}{own:13.1f}{shown}", flush=True)


def make(folder: Path, series: int, files: int) -> None:
    """Write the series, each of a patient of its own and in its own folder."""
    template = _template()
    for number in range(series):
        target = folder / f"{number // 1000:04}" / f"{number:07}"
        target.mkdir(parents=True)
        mine = template.replace(PATIENT.encode(), f"{number:010}".encode())
        for keyword in (SERIES, STUDY):
            mine = mine.replace(keyword.encode(), _number(keyword, number))
        for index in range(files):
            place = f"{index * 3.0 - 30:08.3f}".encode()
            content = mine.replace(INSTANCE.encode(), _number(INSTANCE, number * files + index))
            (target / f"IM{index:04}").write_bytes(content.replace(PLACE.encode(), place))


def _number(word: str, number: int) -> bytes:
    """A UID as long as `word`."""
    return f"{word[:3]}.9{number:0{len(word) - 5}}".encode()


def _template() -> bytes:
    ds = dataset("memory", 0, np.arange(PIXELS**2, dtype=np.uint16).reshape(PIXELS, PIXELS))
    ds.PatientID = ds.PatientName = PATIENT
    ds.SeriesInstanceUID, ds.StudyInstanceUID, ds.SOPInstanceUID = SERIES, STUDY, INSTANCE
    ds.FrameOfReferenceUID = uid("memory")
    ds.file_meta.MediaStorageSOPInstanceUID = INSTANCE
    ds.ImagePositionPatient = ["-115.000", "-120.000", PLACE]
    content = io.BytesIO()
    ds.save_as(content, enforce_file_format=True)
    return content.getvalue()


def measure(scratch: Path, workers: int) -> tuple[float, float, float]:
    """Seconds of one ingest of `scratch`/scans, and the peaks in MiB of its process and of its largest worker."""
    project = scratch / "project"
    project.mkdir()
    params = yaml.safe_load((ROOT / "params.yaml").read_text())
    params["data"].update(dicom_dir=str(scratch / "scans"), labels=None)
    params["ingest"].update(contrasts=None, min_slices=2, workers=workers)
    (project / "params.yaml").write_text(yaml.safe_dump(params))
    environment = os.environ | {"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    environment |= {f"XDG_{name}_HOME": str(scratch / name) for name in ("CONFIG", "CACHE")}
    command = [sys.executable, "-m", "pipeline.stages.ingest"]
    begin = time.monotonic()
    with open(scratch / "log", "wb") as log, subprocess.Popen(command, cwd=project, env=environment, stderr=log) as run:
        own = worker = 0.0
        while run.poll() is None:
            own = max(own, _peak_mib(run.pid))
            worker = max([worker, *map(_peak_mib, _children(run.pid))])
            time.sleep(EVERY_S)
    if run.returncode:
        sys.exit((scratch / "log").read_text())
    return time.monotonic() - begin, own, worker


def _children(pid: int) -> Iterator[int]:
    for process in Path("/proc").glob("[0-9]*"):
        try:
            parent = int((process / "stat").read_text().rpartition(")")[2].split()[1])
        except (FileNotFoundError, ProcessLookupError):
            continue
        if parent == pid:
            yield int(process.name)


def _peak_mib(pid: int) -> float:
    """Peak resident memory of a process so far; 0 where it has ended."""
    try:
        lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    except (FileNotFoundError, ProcessLookupError):
        return 0.0
    return next((int(line.split()[1]) / 1024 for line in lines if line.startswith("VmHWM")), 0.0)


if __name__ == "__main__":
    main()
