"""uvicorn in a thread of the box: the socket, TLS, and how long a connection may keep silent."""

from __future__ import annotations

import asyncio
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import uvicorn
from starlette.types import ASGIApp
from uvicorn.protocols.http.h11_impl import H11Protocol

from deploy.box.tls import server_context
from deploy.box.web.settings import Web
from pipeline.errors import ConfigError

#: For requests that are under way when the box stops.
_GRACE_S = 5
#: Connections above the cap, in this many, are answered with 503; more are closed at once.
_TURNED_AWAY = 2


@contextmanager
def serving(settings: Web, app: ASGIApp) -> Iterator[int]:
    """Serve until the context is left; gives the port.

    Raises:
        ConfigError: the port is taken, or a file of TLS cannot be used.
    """
    try:
        context = None if settings.tls is None else server_context(settings.tls, required=False)
        listening = _bound(settings)
    except OSError as error:
        where = f"{settings.address}:{settings.port}"
        raise ConfigError(f"to serve at {where}", str(error), "See to `web.address`, `port` and `web.tls`.") from error
    config = uvicorn.Config(
        app,
        http=_Connection,
        ws="none",
        loop="asyncio",
        lifespan="off",
        log_config=None,
        access_log=False,
        proxy_headers=False,
        server_header=False,
        limit_concurrency=settings.connections,
        timeout_keep_alive=settings.idle_s,
        timeout_graceful_shutdown=_GRACE_S,
        ssl_context_factory=None if context is None else lambda *_: context,
    )
    server = uvicorn.Server(config)
    thread = threading.Thread(target=server.run, args=([listening],), name="web", daemon=True)
    port: int = listening.getsockname()[1]
    thread.start()
    try:
        yield port
    finally:
        server.should_exit = True
        thread.join()
        listening.close()


def _bound(settings: Web) -> socket.socket:
    family = socket.AF_INET6 if ":" in settings.address else socket.AF_INET
    made = socket.socket(family, socket.SOCK_STREAM)
    made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        made.bind((settings.address, settings.port))
        made.listen(128)
    except OSError:
        made.close()
        raise
    return made


class _Connection(H11Protocol):
    """One connection: what its certificate says stands in `scope["state"]`, and silence ends it.

    uvicorn itself waits for ever for a first request, and for the rest of one.
    """

    _since = 0.0
    _next: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Count it, and look at its certificate."""
        super().connection_made(transport)  # type: ignore[arg-type]
        if len(self.connections) > _TURNED_AWAY * (self.limit_concurrency or 0):
            self.transport.abort()
            return
        self.app_state = {"certificate": _name(transport.get_extra_info("peercert"))}
        self._since = self.loop.time()
        self._watch()

    def connection_lost(self, exc: Exception | None) -> None:
        """Nothing holds it any more."""
        super().connection_lost(exc)
        if self._next is not None:
            self._next.cancel()

    def data_received(self, data: bytes) -> None:
        """Of a request that is being answered every byte counts; before that, only a whole head does."""
        super().data_received(data)
        if self.cycle is not None and not self.cycle.response_complete:
            self._since = self.loop.time()

    def on_response_complete(self) -> None:
        """The next request has its own time."""
        self._since = self.loop.time()
        super().on_response_complete()

    def _watch(self) -> None:
        if self.transport.is_closing():
            return
        under_way = self.cycle is not None and not self.cycle.response_complete
        ours = under_way and (not self.cycle.more_body or self.flow.read_paused)
        if not ours and self.loop.time() - self._since > self.timeout_keep_alive:
            self.transport.abort()
            return
        self._next = self.loop.call_later(self.timeout_keep_alive / 4, self._watch)


def _name(certificate: dict[str, Any] | None) -> str:
    """The common name of a client whose certificate was checked; empty where it showed none."""
    if not certificate:
        return ""
    names = [value for part in certificate.get("subject", ()) for name, value in part if name == "commonName"]
    return str(names[0]) if names else "without a name"
