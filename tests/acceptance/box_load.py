"""How many studies an hour a box answers, how long each takes, and what bounds it.

    python -m tests.acceptance.box_load RELEASE SCANS [--search-s 180] [--hold-s 3600] [--share 0.8] [--quiet-s 5]

starts Orthanc and `python -m deploy.box serve` on loopback. First there are always so many studies in the box that it
never waits for one: what comes back then is the most that this machine answers. Then --share of that is sent, evenly,
for --hold-s. A study is one of SCANS, which the release may answer or not, under UIDs of its own. Prints studies per
hour, the time from the last C-STORE to both results in Orthanc, CPU and memory of each process. Ends with 1 where a
study has not exactly one report and one summary, or memory of the box grew by 20 MB or more.
"""

from __future__ import annotations

import argparse
import os
import statistics
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from deploy.box.overview import Overview
from tests.acceptance.box_connections import MOST_MB, resident_mb
from tests.deploy.box.load import RESULTS, Returns, Scanner
from tests.deploy.box.orthanc import Orthanc, orthanc
from tests.deploy.box.served import destination, port_of, serving, write_settings
from tests.ports import listens
from tests.waiting import within

#: In the box at once while the most is looked for.
WINDOW = 48
#: So short that it is at work, too, and an hour needs 20 GB rather than 70.
RETENTION = """
[retention]
answered_days = 0.01
results_days = 0.01
"""
#: After the last delivery, in seconds: for a study that is answered or sent a second time.
LATE_S = 3.0
_TICKS = os.sysconf("SC_CLK_TCK")


@dataclass(frozen=True)
class Use:
    """Of one process: seconds of CPU since it began, resident memory in MB."""

    cpu_s: float
    memory_mb: float


@dataclass(frozen=True)
class Figures:
    """Of one stretch of time.

    Attributes:
        per_hour: studies whose results came.
        waits: seconds from a study's last C-STORE to the second of its results.
        stored_ms: the mean time of a C-STORE.
        cores: of each process, how much of a core it used.
        memory_mb: of each process, at begin and end.
    """

    per_hour: float
    waits: list[float]
    stored_ms: float
    cores: dict[str, float]
    memory_mb: dict[str, tuple[float, float]]


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("release", type=Path)
    parser.add_argument("scans", type=Path)
    parser.add_argument("--search-s", type=float, default=180.0)
    parser.add_argument("--hold-s", type=float, default=3_600.0)
    parser.add_argument("--share", type=float, default=0.8)
    parser.add_argument("--quiet-s", type=float, default=5.0)
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        return int(not measured(Path(folder), asked))


def measured(folder: Path, asked: argparse.Namespace) -> bool:
    """Whether nothing was lost, nothing came twice, and memory was flat; prints the figures."""
    state = folder / "state"
    with at_work(folder, asked.release.resolve(), asked.quiet_s) as (processes, settings, pacs):
        returns, scanner = Returns(pacs), Scanner(port_of(settings), asked.scans)
        returns.start()
        flood(scanner, returns, asked.search_s / 3)
        most = over(processes, scanner, returns, lambda: flood(scanner, returns, asked.search_s))
        told("the most", most, asked.quiet_s)
        drained(scanner, returns)
        apart_s = 3_600 / (asked.share * most.per_hour)
        held = over(processes, scanner, returns, lambda: evenly(scanner, returns, apart_s, asked.hold_s))
        told(f"{asked.share:.0%} of it for {asked.hold_s:g} s", held, asked.quiet_s)
        delivered(state)
        returns.stop.set()
        returns.join()
        once = {uid: dict(came) for uid, came in returns.came.items()} == dict.fromkeys(scanner.sent, RESULTS)
        states = of_journal(state)
    print(f"{len(scanner.sent)} studies sent, {dict(states)}; each has one report and one summary: {once}", flush=True)
    grown = max(held.memory_mb[name][1] - held.memory_mb[name][0] for name in ("box", "worker"))
    return once and states == {"answered": len(scanner.sent)} and grown < MOST_MB


@contextmanager
def at_work(folder: Path, release: Path, quiet_s: float) -> Iterator[tuple[dict[str, int], Path, Orthanc]]:
    """A box and an Orthanc: the ids of their processes, the box's settings, and where Orthanc is."""
    with orthanc(folder / "orthanc") as pacs:
        more = destination("orthanc", "ORTHANC", pacs.dicom) + RETENTION
        settings = write_settings(folder, release, quiet_s, more=more)
        with serving(Path.cwd(), settings) as box:
            log = settings.with_name("box.log")
            assert within(300, lambda: listens(port_of(settings)) and bool(worker_of(box.pid))), log.read_text()
            yield (
                {"box": box.pid, "worker": worker_of(box.pid), "orthanc": pacs.pid, "this": os.getpid()},
                settings,
                pacs,
            )


def worker_of(box: int) -> int:
    """The process that answers; 0 where there is none yet."""
    for status in Path("/proc").glob("[0-9]*/status"):
        # Processes and threads come and go meanwhile.
        with suppress(FileNotFoundError, ProcessLookupError):
            if f"\nPPid:\t{box}\n" in status.read_text() and b"spawn_main" in (status.parent / "cmdline").read_bytes():
                return int(status.parent.name)
    return 0


def flood(scanner: Scanner, returns: Returns, seconds: float) -> None:
    """Have always as many studies in the box, for so long and until some came back meanwhile."""
    until, before = time.monotonic() + seconds, len(returns.whole)
    while time.monotonic() < until or len(returns.whole) < before + 2:
        if len(scanner.sent) - len(returns.whole) < WINDOW:
            scanner.send()
        else:
            time.sleep(0.02)


def evenly(scanner: Scanner, returns: Returns, apart_s: float, seconds: float) -> None:
    """Send a study every so many seconds, and wait until all is back."""
    began = time.monotonic()
    for number in range(max(2, round(seconds / apart_s))):
        time.sleep(max(0.0, began + number * apart_s - time.monotonic()))
        scanner.send()
    drained(scanner, returns)


def drained(scanner: Scanner, returns: Returns) -> None:
    """Wait until all is back."""
    assert within(600, lambda: len(returns.whole) == len(scanner.sent), every_s=0.2), len(returns.whole)


def delivered(state: Path) -> None:
    """Wait until nothing is to be sent any more, and for what comes all the same."""
    overview = Overview(state)
    assert within(600, lambda: not any(name == "queued" for _, name in overview.deliveries()), every_s=0.2)
    time.sleep(LATE_S)


def over(processes: dict[str, int], scanner: Scanner, returns: Returns, act: Callable[[], None]) -> Figures:
    """What happens while something is done; of studies, those whose results come meanwhile."""
    before, began = {name: use(process) for name, process in processes.items()}, time.monotonic()
    stored, stored_s = scanner.stored, scanner.stored_s
    act()
    after, took = {name: use(process) for name, process in processes.items()}, time.monotonic() - began
    waits = [whole - scanner.sent[uid] for uid, whole in dict(returns.whole).items() if whole >= began]
    return Figures(
        3_600 * len(waits) / took,
        waits,
        1_000 * (scanner.stored_s - stored_s) / max(1, scanner.stored - stored),
        {name: (after[name].cpu_s - before[name].cpu_s) / took for name in processes},
        {name: (before[name].memory_mb, after[name].memory_mb) for name in processes},
    )


def use(process: int) -> Use:
    fields = Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()
    return Use((int(fields[11]) + int(fields[12])) / _TICKS, resident_mb(process))


def told(words: str, figures: Figures, quiet_s: float) -> None:
    low, high = (statistics.quantiles(figures.waits, n=20)[place] for place in (9, 18))
    print(
        f"{words}: {figures.per_hour:.0f} studies per hour; last C-STORE to both results p50 {low:.1f} s, "
        f"p95 {high:.1f} s, of which {quiet_s:g} s are quiet_s; a C-STORE takes {figures.stored_ms:.0f} ms"
    )
    for name, cores in figures.cores.items():
        print(
            f"    {name}: {cores:.2f} cores, {figures.memory_mb[name][0]:.0f} MB, then {figures.memory_mb[name][1]:.0f}"
        )
    sys.stdout.flush()


def of_journal(state: Path) -> Counter[str]:
    """How many studies are in each state."""
    return Counter(Overview(state).states())


if __name__ == "__main__":
    sys.exit(main())
