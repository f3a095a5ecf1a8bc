"""An archive that behaves as it is told, and one that only listens."""

from __future__ import annotations

import select
import socket
import ssl
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field

from pydicom.uid import Comprehensive3DSRStorage, SecondaryCaptureImageStorage
from pynetdicom import AE, evt

CLASSES = (Comprehensive3DSRStorage, SecondaryCaptureImageStorage)


@dataclass
class Archive:
    """What came, by SOP instance UID, each time it came.

    Attributes:
        port: it listens there.
        stored: data sets as they were encoded, of those that were answered with success or a warning.
        answer: status of the C-STORE of this number, counted from 0; None: the connection ends instead.
    """

    port: int = 0
    stored: list[tuple[str, bytes]] = field(default_factory=list)
    answer: Callable[[int], int | None] = lambda _: 0
    asked: int = 0

    def store(self, event: evt.Event) -> int:
        status = self.answer(self.asked)
        self.asked += 1
        if status is None:
            event.assoc.dul.socket.socket.shutdown(socket.SHUT_RDWR)
            return 0xC000
        if status >> 12 in (0x0, 0xB):
            self.stored.append((str(event.request.AffectedSOPInstanceUID), event.request.DataSet.getvalue()))
        return status


@contextmanager
def archive(
    answer: Callable[[int], int | None] = lambda _: 0,
    port: int = 0,
    title: str = "PACS",
    tls: ssl.SSLContext | None = None,
) -> Iterator[Archive]:
    """It takes reports and secondary captures while the context lasts, by its own AE title alone."""
    made = Archive(answer=answer)
    entity = AE(title)
    entity.require_called_aet = True
    for each in CLASSES:
        entity.add_supported_context(each)
    handlers = [(evt.EVT_C_STORE, made.store)]
    server = entity.start_server(("127.0.0.1", port), block=False, evt_handlers=handlers, ssl_context=tls)
    assert server is not None
    made.port = server.server_address[1]
    try:
        yield made
    finally:
        server.shutdown()


@contextmanager
def listening(talk: Callable[[socket.socket], None]) -> Iterator[int]:
    """A port where each connection in turn is given to `talk`, and closed."""

    def until_it_spoke(line: socket.socket, stop: threading.Event) -> None:
        with line:
            line.settimeout(0.1)
            while not stop.is_set():
                with suppress(TimeoutError):
                    talk(line)
                    return

    with accepting(until_it_spoke) as port:
        yield port


@contextmanager
def relay(port: int, ends: str, after: list[int]) -> Iterator[int]:
    """A port that leads to another; the first connections `drop`, or `stop` to be read, after so many bytes each."""
    left = list(after)
    with ExitStack() as unread:

        def lead(line: socket.socket, stop: threading.Event) -> None:
            with ExitStack() as both:
                both.enter_context(line)
                onward = both.enter_context(socket.create_connection(("127.0.0.1", port)))
                _carry(line, onward, left.pop(0) if left else None, stop)
                if ends == "stop" and not stop.is_set():
                    unread.push(both.pop_all())

        with accepting(lead) as here:
            yield here


@contextmanager
def accepting(take: Callable[[socket.socket, threading.Event], None], port: int = 0) -> Iterator[int]:
    """A port where one connection after the other is taken, until the context ends and the event is set.

    Args:
        take: is given each connection, to close it, and the event.
        port: 0: any that is free.
    """
    stop = threading.Event()
    with socket.create_server(("127.0.0.1", port)) as server:
        server.settimeout(0.1)

        def serve() -> None:
            while not stop.is_set():
                try:
                    line, _ = server.accept()
                except TimeoutError:
                    continue
                take(line, stop)

        thread = threading.Thread(target=serve)
        thread.start()
        try:
            yield server.getsockname()[1]
        finally:
            stop.set()
            thread.join()


def _carry(line: socket.socket, onward: socket.socket, most: int | None, stop: threading.Event) -> None:
    """Both ways, until one side ends or `most` bytes came."""
    came = 0
    while not stop.is_set():
        ready, _, _ = select.select([line, onward], [], [], 0.1)
        for each in ready:
            chunk = each.recv(16_384)
            came += len(chunk) if each is line else 0
            if not chunk or (most is not None and came > most):
                return
            (onward if each is line else line).sendall(chunk)
