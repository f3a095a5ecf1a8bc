"""Ports of this machine."""

from __future__ import annotations

import socket


def free_port() -> int:
    """One of loopback where nothing listens now."""
    with socket.socket() as line:
        line.bind(("127.0.0.1", 0))
        return int(line.getsockname()[1])


def listens(port: int) -> bool:
    """Whether a connection is taken there; nothing is said in it."""
    with socket.socket() as line:
        return line.connect_ex(("127.0.0.1", port)) == 0
