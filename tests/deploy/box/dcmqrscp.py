"""DCMTK's dcmqrscp as the hospital's archive, on loopback, empty at each start."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.ports import free_port, listens
from tests.programs import program
from tests.waiting import within

TITLE = "ARCHIVE"


@contextmanager
def dcmqrscp(folder: Path, box_port: int = 11112) -> Iterator[int]:
    """One that knows the box by MRIBOX at that port, until the context ends; gives its own."""
    port = free_port()
    (folder / "studies").mkdir(parents=True)
    settings = folder / "dcmqrscp.cfg"
    settings.write_text(
        f"NetworkTCPPort = {port}\nMaxPDUSize = 16384\nMaxAssociations = 4\n"
        f"HostTable BEGIN\nbox = (MRIBOX, 127.0.0.1, {box_port})\nHostTable END\nVendorTable BEGIN\nVendorTable END\n"
        f"AETable BEGIN\n{TITLE} {folder / 'studies'} RW (100, 1024mb) ANY\nAETable END\n"
    )
    with open(folder / "log", "wb") as log:
        server = subprocess.Popen([program("dcmqrscp"), "-c", settings], stdout=log, stderr=log)
    try:
        assert within(60, lambda: listens(port)), (folder / "log").read_text()
        yield port
    finally:
        server.terminate()
        server.wait(60)
