"""STOW-RS (PS3.18, 10.5): results to one origin server, each in a request of its own."""

from __future__ import annotations

import json
import os
import secrets
import ssl
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import pydicom
import urllib3

from deploy.box.delivery import Delivery, Outcome
from deploy.box.destinations import Stow
from deploy.box.store_scu import meaning
from deploy.box.tls import client_context, trusting
from pipeline.errors import ConfigError

#: Of an answer; more is not read.
_MOST_BYTES = 2**20
#: The server stored it, stored some with others refused or a warning, or stored none (PS3.18, table 10.5.3-1).
_ANSWERED = (200, 202, 409)


class StowRs:
    """Sends to one server; for one thread."""

    def __init__(self, settings: Stow, folder: Path) -> None:
        """Nothing is connected yet.

        Args:
            settings: of the server.
            folder: of the results.

        Raises:
            ConfigError: a file of TLS cannot be used.
        """
        self._settings, self._folder = settings, folder
        timeout = urllib3.Timeout(connect=settings.timeout_s, read=settings.timeout_s)
        self._pool = urllib3.PoolManager(ssl_context=_context(settings), timeout=timeout, retries=False)

    def send(
        self, deliveries: Sequence[Delivery], is_due: Callable[[Delivery], bool]
    ) -> Iterator[tuple[Delivery, Outcome]]:
        """What became of each that was tried."""
        for each in deliveries:
            if is_due(each):
                yield each, self._stored(each)

    def _stored(self, delivery: Delivery) -> Outcome:
        boundary = secrets.token_hex(16)
        headers = {
            "Content-Type": f'multipart/related; type="application/dicom"; boundary={boundary}',
            "Accept": "application/dicom+json",
        }
        body = (
            f"--{boundary}\r\nContent-Type: application/dicom\r\n\r\n".encode()
            + (self._folder / delivery.file).read_bytes()
            + f"\r\n--{boundary}--\r\n".encode()
        )
        try:
            headers |= _credentials(self._settings)
        # Of text that is none, or that no header can hold.
        except (OSError, ValueError):
            return Outcome(None, "the secret cannot be used: see to `secret_file` or `secret_variable`")
        try:
            answer = self._pool.request(
                "POST", f"{self._settings.url}/studies", body, headers=headers, redirect=False, preload_content=False
            )
            try:
                content = answer.read(_MOST_BYTES)
            finally:
                answer.close()
        except (urllib3.exceptions.HTTPError, OSError) as error:
            return Outcome(None, f"no answer: {type(error).__name__}")
        if answer.status not in _ANSWERED:
            return Outcome(None, f"HTTP {answer.status}")
        return _outcome(content, delivery.sop_instance_uid, answer.status)


def _outcome(content: bytes, sop_instance_uid: str, http: int) -> Outcome:
    """Of one object, as the Store Instances Response Module says (PS3.18, annex I.2)."""
    try:
        parsed: Any = json.loads(content)
        told = pydicom.Dataset.from_json(parsed[0] if isinstance(parsed, list) else parsed)
        stored = _of(told.get("ReferencedSOPSequence"), sop_instance_uid)
        failed = _of(told.get("FailedSOPSequence"), sop_instance_uid)
        status = 0
        if failed is not None:
            status = int(failed.FailureReason)
        elif stored is not None:
            status = int(stored.get("WarningReason") or 0)
    except (ValueError, TypeError, KeyError, AttributeError, IndexError):
        return Outcome(None, f"HTTP {http}, and an answer that is no DICOM JSON")
    if failed is None and stored is None:
        return Outcome(None, f"HTTP {http}, and an answer that does not name the object")
    return Outcome(status, meaning(status) if status else "")


def _of(sequence: Any, sop_instance_uid: str) -> pydicom.Dataset | None:
    return next((item for item in sequence or () if item.ReferencedSOPInstanceUID == sop_instance_uid), None)


def _credentials(settings: Stow) -> dict[str, str]:
    """Read each time, so that a new secret needs no new start.

    Raises:
        OSError, ValueError: there is no secret, or none that a header can hold.
    """
    if settings.secret_file is not None:
        secret = settings.secret_file.read_text(encoding="utf-8").strip()
    elif settings.secret_variable is not None:
        if settings.secret_variable not in os.environ:
            raise FileNotFoundError(settings.secret_variable)
        secret = os.environ[settings.secret_variable].strip()
    else:
        return {}
    if not secret.isprintable():
        raise ValueError("more than one line")
    secret.encode("latin-1")
    if settings.user is not None:
        return urllib3.make_headers(basic_auth=f"{settings.user}:{secret}")
    return {"Authorization": f"Bearer {secret}"}


def _context(settings: Stow) -> ssl.SSLContext:
    if settings.tls is not None:
        return client_context(settings.tls)
    try:
        return trusting(settings.authorities)
    except (OSError, ssl.SSLError) as error:
        raise ConfigError("PEM of authorities", str(error), "See to `send.stow.authorities`.") from error
