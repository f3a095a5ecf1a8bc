"""A Prefect server, a work pool and a worker on this machine, with everything deployed: `make prefect`.

The server keeps its runs in PREFECT_HOME (~/.prefect). Where a server answers already, that one is used. Ctrl-C ends
what this started; a run that was under way is marked as crashed, and the next one goes on from its last good stage.
"""

from __future__ import annotations

import signal
import sys
import time
from collections.abc import Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager, suppress
from subprocess import Popen
from urllib.parse import urlsplit

import httpx
from prefect.settings import get_current_settings
from rich.console import Console

from flows.deployment import POOL, ROOT, deploy
from pipeline.errors import ConfigError, PipelineError
from pipeline.parent import running

#: Seconds that a server may take to start, and a worker to end.
START_S, END_S = 120, 40


def main() -> int:
    """Run until one of them ends or Ctrl-C comes; exit 1 with a message where one cannot be had."""
    # A shell has what it starts in the background ignore SIGINT, which is inherited; without it no worker ends.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    console = Console(stderr=True, soft_wrap=True, highlight=False)
    address = str(get_current_settings().api.url)
    with ExitStack() as programs:
        try:
            if not _answers(address):
                programs.enter_context(_server(address))
            deploy()
        except PipelineError as error:
            console.print(f"{type(error).__name__}: {error}", markup=False)
            return 1
        worker = programs.enter_context(_prefect("worker", "start", "--pool", POOL, "--type", "process"))
        console.print(f"Deployed. Runs, artifacts and automations: {address.removesuffix('/api')}", markup=False)
        with suppress(KeyboardInterrupt):
            return worker.wait()
    return 0


def _answers(address: str) -> bool:
    with suppress(httpx.HTTPError):
        return httpx.get(f"{address}/health", timeout=5).is_success
    return False


@contextmanager
def _server(address: str) -> Iterator[None]:
    """A server at the address, which must be of this machine; it answers when the context is entered."""
    place = urlsplit(address)
    if place.hostname not in {"127.0.0.1", "localhost", "::1"}:
        remedy = "Start it there, or unset PREFECT_API_URL."
        raise ConfigError(f"a Prefect server at {address}", "no answer, and it is not of this machine", remedy)
    started = ("server", "start", "--host", place.hostname, "--port", str(place.port or 4200))
    with _prefect(*started) as server:
        deadline = time.monotonic() + START_S
        while not _answers(address):
            if server.poll() is not None or time.monotonic() > deadline:
                remedy = "Its lines above say why; a port that is taken is changed by PREFECT_API_URL."
                raise ConfigError(f"a Prefect server that starts at {address}", "none", remedy)
            time.sleep(0.5)
        yield


def _prefect(*arguments: str) -> AbstractContextManager[Popen[bytes]]:
    """A command of Prefect that runs until the context is left."""
    command = [sys.executable, "-m", "prefect", *arguments]
    return running(command, END_S, cwd=ROOT)


if __name__ == "__main__":
    sys.exit(main())
