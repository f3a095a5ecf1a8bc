"""The listening socket of the box: who may connect, over what, and how much is read before anything is understood.

pynetdicom reads a PDU whole before it looks at it, however long the sender says it is, and waits for its end for ever.
Sockets given to it here measure what passes: a PDU or an instance that is too long, and silence, end the connection.
"""

from __future__ import annotations

import ipaddress
import logging
import select
import socket
import socketserver
import ssl
import struct
from typing import Any, cast

from pynetdicom.transport import ThreadedAssociationServer

from deploy.box.settings import Receive
from deploy.box.tls import server_context
from deploy.box.watch import Watch

#: Of every PDU: type, reserved, length (PS3.8, section 9.3.1).
_HEADER = struct.Struct(">BBL")
#: Connections beside those of associations, such as of those who are still at their TLS handshake.
_WAITING = 8


_LOG = logging.getLogger(__name__)


class TooLongError(OSError):
    """More than the settings allow was about to be read; pynetdicom closes the connection on any OSError."""


class Meter:
    """What one connection may still read: no longer PDU than the cap, and no longer instance.

    An instance is what comes between two answers: a sender waits for that of each C-STORE.
    """

    def __init__(self, pdu_bytes: int, instance_bytes: int) -> None:
        self._pdu_bytes, self._instance_bytes = pdu_bytes, instance_bytes
        self._header, self._left, self._unanswered = b"", 0, 0

    def received(self, chunk: bytes) -> None:
        """Look at what was just read.

        Raises:
            TooLongError: the PDU that begins in it, or the instance that it belongs to.
        """
        self._unanswered += len(chunk)
        # A PDU more for the command before the instance.
        if self._unanswered > self._instance_bytes + self._pdu_bytes:
            raise TooLongError(f"more than {self._instance_bytes} bytes without an end")
        while chunk:
            if self._left:
                taken = min(self._left, len(chunk))
                self._left -= taken
            else:
                taken = min(_HEADER.size - len(self._header), len(chunk))
                self._header += chunk[:taken]
                if len(self._header) == _HEADER.size:
                    self._left, self._header = self._length(), b""
            chunk = chunk[taken:]

    def answered(self) -> None:
        """Something was sent."""
        self._unanswered = 0

    def _length(self) -> int:
        length = int(_HEADER.unpack(self._header)[2])
        if length > self._pdu_bytes:
            raise TooLongError(f"a PDU of {length} bytes, where {self._pdu_bytes} are allowed")
        return length


class Measured:
    """A socket that a meter watches, and that lets go of its file whatever state the other side left it in."""

    meter: Meter | None = None

    def recv(self, *arguments: Any) -> bytes:
        """Read, and have it measured."""
        chunk: bytes = super().recv(*arguments)  # type: ignore[misc]
        if self.meter is not None:
            try:
                self.meter.received(chunk)
            except TooLongError as error:
                _LOG.warning("a connection was ended: %s", error)
                raise
        return chunk

    def send(self, *arguments: Any) -> int:
        """Write, which answers what was read."""
        if self.meter is not None:
            self.meter.answered()
        sent: int = super().send(*arguments)  # type: ignore[misc]
        return sent

    def shutdown(self, how: int) -> None:
        """End the connection; closed where that fails, as pynetdicom leaves the `close` out that should follow."""
        try:
            super().shutdown(how)  # type: ignore[misc]
        except OSError:
            self.close()  # type: ignore[attr-defined]
            raise


class _Plain(Measured, socket.socket):
    """Without TLS."""


class _Encrypted(Measured, ssl.SSLSocket):
    """With TLS."""


class Front(ThreadedAssociationServer):
    """pynetdicom's server, behind the door of `Receive`."""

    daemon_threads = True
    request_queue_size = 128

    def __init__(self, *arguments: Any, limits: Receive, watch: Watch, **named: Any) -> None:
        self._limits, self._watch = limits, watch
        self._networks = [network for sender in limits.senders for network in sender.networks]
        self._tls = None if limits.tls is None else server_context(limits.tls, required=True)
        if self._tls is not None:
            self._tls.sslsocket_class = _Encrypted
        self._entering: set[socket.socket] = set()
        super().__init__(*arguments, **named)

    def get_request(self) -> tuple[socket.socket, Any]:
        """A connection; its handshake waits for a thread of its own, lest one that says nothing block the others."""
        accepted, address = cast(socket.socket, self.socket).accept()
        plain = _Plain(fileno=accepted.detach())
        plain.settimeout(self._limits.idle_s)
        return plain, address

    def verify_request(self, request: Any, client_address: Any) -> bool:
        """Whether the address may connect, and there is room."""
        address = ipaddress.ip_address(client_address[0])
        if not any(address in network for network in self._networks):
            self._watch.turned_away(str(address), "")
            return False
        if len(self._entering) + len(self.active_associations) >= self._limits.associations + _WAITING:
            return False
        self._entering.add(request)
        return True

    def finish_request(self, request: Any, client_address: Any) -> None:
        """In the connection's thread: pynetdicom has it once the other side has shown itself and said something."""
        try:
            welcome: Any = request if self._tls is None else self._tls.wrap_socket(request, server_side=True)
            # An association that hears nothing, not even the end, holds its threads until its time is over.
            if not select.select([welcome], [], [], self._limits.idle_s)[0] or not self._speaks(welcome):
                self.shutdown_request(welcome)
                return
            welcome.meter = Meter(self._limits.pdu_bytes, self._limits.instance_mb * 2**20)
            super().finish_request(welcome, client_address)
        except OSError as error:
            if isinstance(error, ssl.SSLError):
                self._watch.turned_away(str(client_address[0]), "")
            self.shutdown_request(request)
        finally:
            self._entering.discard(request)

    def _speaks(self, welcome: socket.socket) -> bool:
        """Whether there is something to read other than the end; TLS cannot look without reading."""
        return self._tls is not None or bool(welcome.recv(1, socket.MSG_PEEK))

    def shutdown(self) -> None:
        """Stop listening and end what is open; pynetdicom's own asks for a server that its AE has started."""
        socketserver.BaseServer.shutdown(self)
        self.server_close()
        for association in self.active_associations:
            association.abort()
