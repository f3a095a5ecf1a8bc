"""Whether every hostile file ends accepted or refused, in time and in little memory.

`python -m tests.benchmarks.hostile [--cases N]`: the files that are made to be costly, and N damaged ones. Each is read
as ingest reads it, and what is accepted is de-identified, in a process that has 1 GiB (RLIMIT_AS) and 10 s for a file.
Prints how many ended how as JSON; ends with 1, and the names of the cases, if one crashed, hung, or was lost.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from pipeline.dicom.deidentify import Options
from pipeline.dicom.export import Job, place, write_series
from pipeline.dicom.load import load
from pipeline.dicom.pseudonym import Pseudonyms
from pipeline.dicom.reasons import Rejection
from pipeline.errors import DicomError
from tests.benchmarks.hostile_files import costly, damaged, whole
from tests.dicom import series_builder

MOST_BYTES, MOST_SECONDS = 1 << 30, 10
_NAMES = Pseudonyms(b"k" * 32)
_BESIDE = series_builder.uid("a", "series")

Case = tuple[str, Callable[[], bytes]]


def main() -> None:
    """Run the cases in a child process, and in a further one behind each case that killed one."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--cases", type=int, default=10_000)
    parser.add_argument("--from-case", type=int, help=argparse.SUPPRESS)
    asked = parser.parse_args()
    if asked.from_case is not None:
        _child(asked.cases, asked.from_case)
        return
    ends: Counter[str] = Counter()
    failed: dict[str, str] = {}
    slowest, first, total = 0.0, 0, asked.cases + sum(1 for _ in costly())
    while first < total:
        name = ""
        for line in _ran(asked.cases, first):
            name = line["name"]
            if "end" in line:
                ends[line["end"]] += 1
                slowest = max(slowest, line["seconds"])
                if line["failed"]:
                    failed[name] = line["end"]
                first, name = line["number"] + 1, ""
        if first < total:
            failed[name or f"case {first}"] = "killed"
            ends["killed"] += 1
            first += 1
    result = {"cases": total, "ends": dict(sorted(ends.items())), "slowest_s": slowest, "failed": failed}
    print(json.dumps(result, indent=2))
    sys.exit(1 if failed else 0)


def _ran(cases: int, first: int) -> Iterator[dict[str, Any]]:
    """What a child says, until it ends or dies."""
    command = [sys.executable, "-m", "tests.benchmarks.hostile", "--cases", str(cases), "--from-case", str(first)]
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True, env=environment
    ) as child:
        assert child.stdout is not None
        for line in child.stdout:
            yield json.loads(line)


def _child(cases: int, first: int) -> None:
    """Each case from `first` on: its name before it runs, how it ended after."""
    files = whole()
    numbered: list[Case] = list(costly())
    for number in range(first, len(numbered) + cases):
        if number < len(numbered):
            name, make = numbered[number]
            content = make()
        else:
            name, content = damaged(number - len(numbered), files)
        print(json.dumps({"name": name}), flush=True)
        resource.setrlimit(resource.RLIMIT_AS, (MOST_BYTES, resource.RLIM_INFINITY))
        signal.alarm(MOST_SECONDS)
        start = time.perf_counter()
        ended, failed = _judged(content)
        seconds = round(time.perf_counter() - start, 3)
        signal.alarm(0)
        resource.setrlimit(resource.RLIMIT_AS, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
        line = {"name": name, "number": number, "end": ended, "failed": failed, "seconds": seconds}
        print(json.dumps(line), flush=True)


def _judged(content: bytes) -> tuple[str, bool]:
    """How a file ends that lies beside the first slice of a series, and whether that is a failure."""
    with tempfile.TemporaryDirectory() as folder:
        scans = Path(folder, "scans")
        series_builder.save(series_builder.classic(slices=2)[:1], scans)
        (scans / "x").write_bytes(content)
        ends: dict[str, str] = {}
        try:
            for item in load(scans, workers=1):
                if isinstance(item, Rejection):
                    ends.setdefault(item.source, item.reason)
                else:
                    ends[item.series_uid] = "accepted"
                    write_series(Job(place(item, _NAMES), item.files, Path(folder, "out"), _NAMES, Options()))
        except DicomError:
            pass  # no series that can be used: what was refused before counts
        except Exception as error:  # noqa: BLE001 - whatever it is, it is what this looks for
            return f"{type(error).__name__}: {error}", True
    beside = ends.pop(_BESIDE, "lost")  # of which the file may have become a part
    end = next(iter(ends.values()), beside)
    return end, end == "lost"


if __name__ == "__main__":
    main()
