"""The audit trail, sent on: each record a syslog message (RFC 5424) to a collector, by PS3.15, A.6 (TLS) or A.7 (UDP).

What is sent is read from the trail, which stays as it is; how far it was read stands in `syslog.json` beside it. A
collector that is away keeps nothing waiting, and gets what it missed once it is back. Syslog acknowledges nothing: what
was on its way when a connection broke, or in a datagram that was dropped, is in the trail alone.
"""

from __future__ import annotations

import logging
import os
import socket
import ssl
import threading
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

from deploy.box import audit
from deploy.box.settings import Syslog
from deploy.box.tls import client_context
from pipeline.errors import DataError, StorageError
from pipeline.files import read_json, write_json

_READ = "syslog.json"
#: Facility 10, security, severity 5, notice.
_PRIORITY = 85
_MSGID = "DICOM+RFC3881"
#: Of a datagram, beside the headers of IP and UDP (RFC 5426, 3.2).
_LONGEST = 65_507
_TIMEOUT_S = 10.0
#: Records that are sent before it is noted how far that was.
_AT_ONCE = 100

_LOG = logging.getLogger(__name__)


class Forwarding:
    """Sends what was added to the trail since it last looked."""

    def __init__(self, folder: Path, settings: Syslog) -> None:
        """Nothing is sent yet.

        Args:
            folder: of the trail.
            settings: the collector.

        Raises:
            ConfigError: a file of TLS cannot be used.
        """
        self._folder, self._settings = folder, settings
        self._tls = None if settings.tls is None else client_context(settings.tls)
        self._line: socket.socket | None = None
        self._waits = False

    def run(self, stop: threading.Event, every_s: float = 1.0) -> None:
        """Until `stop` is set."""
        while not stop.wait(every_s):
            try:
                while self.round() and not stop.is_set():
                    pass
                self._waits = False
            except (OSError, StorageError, DataError) as error:
                if not self._waits:
                    _LOG.error("the audit trail waits to be sent to its collector: %s", error)
                self._waits = True
        self.close()

    def round(self) -> int:
        """Send some of what was not sent yet; how many records that were.

        Raises:
            OSError: the collector cannot be reached.
            DataError: the trail, or the note of how far it was read, cannot be read.
        """
        path = self._folder / _READ
        place = audit.Place(**read_json(path)) if path.is_file() else audit.Place()
        records = audit.since(self._folder, place, _AT_ONCE)
        done = place
        try:
            for record, after in records:
                self._send(_message(record))
                done = after
        except OSError:
            self.close()
            raise
        finally:
            if done != place:
                write_json(path, asdict(done))
        return len(records)

    def close(self) -> None:
        """Let go of the connection."""
        if self._line is not None:
            self._line.close()
        self._line = None

    def _send(self, message: bytes) -> None:
        line = self._connected()
        if self._tls is None:
            line.send(message[:_LONGEST])
        else:
            # RFC 5425, 4.3.
            line.sendall(b"%d %b" % (len(message), message))

    def _connected(self) -> socket.socket:
        if self._line is not None and self._tls is not None and _ended(self._line):
            self.close()
        if self._line is None:
            where = (self._settings.address, self._settings.port)
            if self._tls is None:
                self._line = _datagrams(where)
            else:
                plain = socket.create_connection(where, timeout=_TIMEOUT_S)
                try:
                    self._line = self._tls.wrap_socket(plain, server_hostname=self._settings.address)
                except OSError:
                    plain.close()
                    raise
        return self._line


def _ended(line: socket.socket) -> bool:
    """Whether the collector has ended a connection; it says nothing else that is of TLS alone."""
    line.setblocking(False)
    try:
        return not line.recv(1)
    except ssl.SSLWantReadError:
        return False
    except OSError:
        return True
    finally:
        line.settimeout(_TIMEOUT_S)


def _datagrams(where: tuple[str, int]) -> socket.socket:
    family, kind, protocol, _, address = socket.getaddrinfo(*where, type=socket.SOCK_DGRAM)[0]
    made = socket.socket(family, kind, protocol)
    made.connect(address)
    return made


def _message(record: Mapping[str, Any]) -> bytes:
    """By RFC 5424: header, no structured data, and the XML as UTF-8."""
    header = f"<{_PRIORITY}>1 {record['time']} {socket.gethostname() or '-'} mri-transfer {os.getpid()} {_MSGID} - "
    return header.encode("ascii") + b"\xef\xbb\xbf" + str(record["message"]).encode()
