"""TLS of associations and of HTTP, by the BCP 195 RFC 9325 profile (PS3.15, B.12)."""

from __future__ import annotations

import ssl
from pathlib import Path

from deploy.box.fields import Tls
from deploy.box.web.settings import WebTls
from pipeline.errors import ConfigError

# Of TLS 1.2 only what RFC 9325, 4.2, recommends; those of 1.3 are all of that kind.
_CIPHERS = "ECDHE+AESGCM:ECDHE+CHACHA20"


def server_context(tls: Tls | WebTls, required: bool) -> ssl.SSLContext:
    """TLS 1.2 or 1.3 with this box's certificate; one is asked of the other side where somebody may vouch for it.

    Args:
        tls: the files.
        required: whether who shows none is turned away.

    Raises:
        OSError, ssl.SSLError: a file is missing or is no certificate or key.
    """
    made = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    made.minimum_version = ssl.TLSVersion.TLSv1_2
    made.set_ciphers(_CIPHERS)
    made.load_cert_chain(tls.certificate, tls.key)
    if tls.authorities is not None:
        made.load_verify_locations(tls.authorities)
        made.verify_mode = ssl.CERT_REQUIRED if required else ssl.CERT_OPTIONAL
    return made


def client_context(tls: Tls) -> ssl.SSLContext:
    """TLS 1.2 or 1.3 with a certificate of this box, and one asked of the other side.

    Raises:
        ConfigError: a file is missing or is no certificate or key.
    """
    try:
        made = trusting(tls.authorities)
        made.load_cert_chain(tls.certificate, tls.key)
    except (OSError, ssl.SSLError) as error:
        raise ConfigError("certificates and a key for TLS", str(error), "See to the files of `tls`.") from error
    return made


def trusting(authorities: Path | None) -> ssl.SSLContext:
    """TLS 1.2 or 1.3 to another side for whose certificate these vouch; None: the machine's own authorities.

    Raises:
        OSError, ssl.SSLError: the file is missing or holds no certificate.
    """
    made = ssl.create_default_context(cafile=authorities)
    made.minimum_version = ssl.TLSVersion.TLSv1_2
    made.set_ciphers(_CIPHERS)
    return made
