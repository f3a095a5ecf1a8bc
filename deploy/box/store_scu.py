"""C-STORE SCU (PS3.4, annex B): results to one archive, several in one association."""

from __future__ import annotations

import socket
import ssl
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import cast

import pydicom
from pydicom.uid import ExplicitVRLittleEndian, ImplicitVRLittleEndian
from pynetdicom import AE, evt
from pynetdicom.association import Association
from pynetdicom.pdu_primitives import A_ASSOCIATE
from pynetdicom.status import STORAGE_SERVICE_CLASS_STATUS, code_to_category

from deploy.box.delivery import Delivery, Outcome
from deploy.box.destinations import Dicom
from deploy.box.fields import Tls
from pipeline.errors import ConfigError


class StoreScu:
    """Sends to one destination; for one thread."""

    def __init__(self, settings: Dicom, calling_ae_title: str, folder: Path) -> None:
        """Nothing is connected yet.

        Args:
            settings: of the destination.
            calling_ae_title: where the settings give none.
            folder: of the results.

        Raises:
            ConfigError: a file of TLS cannot be used.
        """
        self._settings, self._folder = settings, folder
        self._tls = None if settings.tls is None else client_context(settings.tls)
        self._entity = AE(settings.calling_ae_title or calling_ae_title)
        self._entity.acse_timeout = self._entity.dimse_timeout = settings.timeout_s
        self._entity.network_timeout = self._entity.connection_timeout = settings.timeout_s

    def send(self, deliveries: Sequence[Delivery]) -> Iterator[tuple[Delivery, Outcome]]:
        """What became of each that was tried: where the association ends in the midst of it, the rest come again."""
        classes = sorted({each.sop_class_uid for each in deliveries})
        with self._associated(classes) as association:
            for number, each in enumerate(deliveries):
                if isinstance(association, str):
                    yield each, Outcome(None, association)
                elif association.is_established or number == 0:
                    yield each, _stored(association, self._folder / each.file)

    @contextmanager
    def _associated(self, classes: Sequence[str]) -> Iterator[Association | str]:
        """An association for these classes, or in words why there is none."""
        opened: list[socket.socket] = []

        def bound(event: evt.Event) -> None:
            # pynetdicom would wait without an end for a destination that reads no more.
            transport = event.assoc.dul.socket
            assert transport is not None
            line = cast(socket.socket, transport.socket)
            line.settimeout(self._settings.timeout_s)
            opened.append(line)

        try:
            (found, *_) = socket.getaddrinfo(self._settings.address, self._settings.port, type=socket.SOCK_STREAM)
        except OSError as error:
            yield f"its address cannot be found: {error.strerror}"
            return
        for each in classes:
            self._entity.add_requested_context(each, [ExplicitVRLittleEndian, ImplicitVRLittleEndian])
        association = self._entity.associate(
            str(found[4][0]),
            self._settings.port,
            ae_title=self._settings.ae_title,
            evt_handlers=[(evt.EVT_CONN_OPEN, bound)],
            tls_args=None if self._tls is None else (self._tls, self._settings.address),
        )
        try:
            yield association if association.is_established else _refusal(association, bool(opened))
        finally:
            self._entity.requested_contexts = []
            if association.is_established:
                association.release()
            for line in opened:
                # It leaves some open whose association ended badly.
                with suppress(OSError):
                    line.close()


def client_context(tls: Tls) -> ssl.SSLContext:
    """TLS 1.2 or 1.3 with a certificate of this box, and one asked of the other side (PS3.15, B.12).

    Raises:
        ConfigError: a file is missing or is no certificate or key.
    """
    try:
        made = ssl.create_default_context(cafile=str(tls.authorities))
        made.load_cert_chain(tls.certificate, tls.key)
    except (OSError, ssl.SSLError) as error:
        raise ConfigError("certificates and a key for TLS", str(error), "See to the files of `send.….tls`.") from error
    made.minimum_version = ssl.TLSVersion.TLSv1_2
    return made


def meaning(status: int) -> str:
    """A status of C-STORE in words (PS3.4, table B.2-1; PS3.7, annex C)."""
    category, words = STORAGE_SERVICE_CLASS_STATUS.get(status, (code_to_category(status), ""))
    return f"0x{status:04X}, {category.lower()}{': ' * bool(words)}{words.lower()}"


def _stored(association: Association, path: Path) -> Outcome:
    read = pydicom.dcmread(path)
    try:
        answer = association.send_c_store(read)
    except ValueError:
        return Outcome(None, "it takes no objects of this class")
    except RuntimeError:
        return Outcome(None, "the association ended")
    if "Status" not in answer:
        return Outcome(None, "it did not answer, or ended the association")
    status = int(answer.Status)
    return Outcome(status, meaning(status) if status else "")


def _refusal(association: Association, connected: bool) -> str:
    answer = association.acceptor.primitive
    if association.is_rejected and isinstance(answer, A_ASSOCIATE):
        return f"it rejected the association: {answer.reason_str.lower()}"
    if association.acceptor.primitive is not None and not association.accepted_contexts:
        return "it takes no objects of these classes"
    return "it did not answer the association request, or aborted it" if connected else "no connection"
