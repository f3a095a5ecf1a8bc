"""What fields of several sections of the settings hold: AE titles, paths, addresses, files of TLS."""

from __future__ import annotations

import ipaddress
from pathlib import Path
from typing import Annotated

from pydantic import AfterValidator, BeforeValidator

from pipeline.strict import Strict


def _ae_title(title: str) -> str:
    """PS3.5, table 6.2-1, AE: 1 to 16 characters of the default repertoire, no backslash, not spaces alone."""
    title = title.strip(" ")
    if not 1 <= len(title) <= 16 or not (title.isascii() and title.isprintable()) or "\\" in title:
        raise ValueError("an AE title is 1 to 16 printable ASCII characters without backslash")
    return title


def _absolute(path: Path) -> Path:
    if not path.is_absolute():
        raise ValueError("must be a path from the root: a service has no folder of its own to start from")
    return path


def _numeric(address: object) -> object:
    """A name would be looked up at the start, and be another host the next day."""
    ipaddress.ip_address(str(address))
    return address


AeTitle = Annotated[str, AfterValidator(_ae_title)]
Absolute = Annotated[Path, AfterValidator(_absolute)]
Address = Annotated[str, BeforeValidator(_numeric)]


class Tls(Strict):
    """TLS by PS3.15, B.12: both sides show certificates.

    Attributes:
        certificate: PEM of this box, with its chain.
        key: PEM of its private key.
        authorities: PEM of those who may vouch for the other side.
    """

    certificate: Absolute
    key: Absolute
    authorities: Absolute
