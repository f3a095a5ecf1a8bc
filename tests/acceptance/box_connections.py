"""Ten thousand associations and as many connections that say nothing: what a box's memory and threads do.

    python -m tests.acceptance.box_connections RELEASE [--count 10000] [--web]

starts `python -m deploy.box serve` on loopback, opens so many associations with a C-ECHO each, then so many TCP
connections that close without a word, on the DICOM port and, with --web, on the port of the page. Prints resident
memory of the box's own process and its threads before and after each, once 500 of each kind were a warm-up. Ends with
1 where memory grew by 20 MB or more, a thread stayed, or one of them was refused.
"""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

from pynetdicom import AE

from tests.deploy.box.served import port_of, serving, web, write_settings
from tests.ports import free_port, listens
from tests.waiting import within

MOST_MB, WARM_UP = 20.0, 500
_VERIFICATION = "1.2.840.10008.1.1"


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("release", type=Path)
    parser.add_argument("--count", type=int, default=10_000)
    parser.add_argument("--web", action="store_true")
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        page = free_port()
        settings = write_settings(Path(name), asked.release.resolve(), more=web(Path(name), page))
        ports = [port_of(settings), page]
        with serving(Path.cwd(), settings) as box:
            log = settings.with_name("box.log")
            assert within(120, lambda: all(listens(port) for port in ports)), log.read_text()
            kinds: dict[str, Callable[[], object]] = {"associations": lambda: echo(ports[0])}
            kinds["connections to the DICOM port"] = lambda: listens(ports[0])
            if asked.web:
                kinds["connections to the page"] = lambda: listens(ports[1])
            steadily = [steady(box.pid, words, act, asked.count) for words, act in kinds.items()]
            return int(not all(steadily))


def steady(process: int, words: str, act: Callable[[], object], count: int) -> bool:
    """Whether all were answered, and memory and threads are what they were; prints each."""
    for _ in range(WARM_UP):
        act()
    memory, threads = resident_mb(process), threads_of(process)
    refused = sum(not act() for _ in range(count))
    grown = resident_mb(process) - memory
    returned = within(60, lambda: threads_of(process) <= threads)
    print(
        f"{count} {words}: {refused} refused, memory {memory:.1f} MB and {grown:+.1f} MB, "
        f"threads {threads} and {threads_of(process)} after",
        flush=True,
    )
    return not refused and grown < MOST_MB and returned


def echo(port: int) -> bool:
    """Whether an association answered."""
    entity = AE("SCANNER")
    entity.add_requested_context(_VERIFICATION)
    association = entity.associate("127.0.0.1", port, ae_title="MRIBOX")
    answered = association.is_established and association.send_c_echo().get("Status") == 0
    association.release()
    return answered


def resident_mb(process: int) -> float:
    """Of one process."""
    pages = int(Path(f"/proc/{process}/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") / 2**20


def threads_of(process: int) -> int:
    """How many it has now."""
    return len(list(Path(f"/proc/{process}/task").iterdir()))


if __name__ == "__main__":
    sys.exit(main())
