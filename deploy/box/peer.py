"""An association that the box asks for: every wait in it is bounded, and its socket is let go of however it ends."""

from __future__ import annotations

import socket
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from typing import cast

from pydicom.uid import UID, ExplicitVRLittleEndian, ImplicitVRLittleEndian
from pynetdicom import AE, build_context, evt
from pynetdicom.association import Association
from pynetdicom.events import EventHandlerType
from pynetdicom.pdu_primitives import A_ASSOCIATE, SCP_SCU_RoleSelectionNegotiation
from pynetdicom.presentation import PresentationContext

from deploy.box.destinations import Dicom
from deploy.box.tls import client_context


class Peer:
    """One that the box calls; for one thread."""

    def __init__(self, settings: Dicom, calling_ae_title: str) -> None:
        """Nothing is connected yet.

        Args:
            settings: of the other side.
            calling_ae_title: where the settings give none.

        Raises:
            ConfigError: a file of TLS cannot be used.
        """
        self._settings = settings
        self._tls = None if settings.tls is None else client_context(settings.tls)
        self._entity = AE(settings.calling_ae_title or calling_ae_title)
        self._entity.acse_timeout = self._entity.dimse_timeout = settings.timeout_s
        # Each answer has its own bound; an end by silence would race with the box's own.
        self._entity.network_timeout = None

    @contextmanager
    def associated(
        self,
        classes: Sequence[str],
        handlers: Sequence[EventHandlerType] = (),
        roles: Sequence[SCP_SCU_RoleSelectionNegotiation] = (),
    ) -> Iterator[Association | str]:
        """An association for these SOP classes, or in words why there is none.

        Args:
            classes: UIDs.
            handlers: of its events.
            roles: of classes for which the box is the SCP.
        """
        opened: list[socket.socket] = []
        try:
            addresses = self._addresses()
        except OSError as error:
            yield f"its address cannot be found: {error.strerror}"
            return
        syntaxes: list[str | UID] = [ExplicitVRLittleEndian, ImplicitVRLittleEndian]
        contexts = [build_context(each, syntaxes) for each in classes]
        association = self._called(addresses, contexts, handlers, roles, opened)
        try:
            yield association if association.is_established else _refusal(association, bool(opened))
        finally:
            if association.is_established:
                association.release()
            for line in opened:
                # It leaves some open whose association ended badly.
                with suppress(OSError):
                    line.close()

    def _called(
        self,
        addresses: Sequence[str],
        contexts: list[PresentationContext],
        handlers: Sequence[EventHandlerType],
        roles: Sequence[SCP_SCU_RoleSelectionNegotiation],
        opened: list[socket.socket],
    ) -> Association:
        """What was asked for at the first address that takes a connection, else at the last.

        Raises:
            OSError: this machine cannot ask; one that has no address of a family is asked for others.
        """
        association: Association | None = None
        # All of them together take no longer than one.
        self._entity.connection_timeout = self._settings.timeout_s / len(addresses)
        for address in addresses:
            try:
                association = self._entity.associate(
                    address,
                    self._settings.port,
                    contexts,
                    ae_title=self._settings.ae_title,
                    ext_neg=list(roles) or None,
                    evt_handlers=[(evt.EVT_CONN_OPEN, _bound, [self._settings.timeout_s, opened]), *handlers],
                    tls_args=None if self._tls is None else (self._tls, self._settings.address),
                )
            except OSError:
                if association is None and address == addresses[-1]:
                    raise
            if opened:
                break
        assert association is not None
        return association

    def _addresses(self) -> list[str]:
        """Where the name leads now, at least one, in the order in which they are to be tried (RFC 6724).

        Raises:
            OSError: nowhere.
        """
        found = socket.getaddrinfo(self._settings.address, self._settings.port, type=socket.SOCK_STREAM)
        return list(dict.fromkeys(str(each[4][0]) for each in found))


def _bound(event: evt.Event, timeout_s: float, opened: list[socket.socket]) -> None:
    """Bound its waits: pynetdicom would wait without an end for a destination that reads no more."""
    transport = event.assoc.dul.socket
    assert transport is not None
    line = cast(socket.socket, transport.socket)
    line.settimeout(timeout_s)
    opened.append(line)


def _refusal(association: Association, connected: bool) -> str:
    answer = association.acceptor.primitive
    if association.is_rejected and isinstance(answer, A_ASSOCIATE):
        return f"it rejected the association: {answer.reason_str.lower()}"
    if association.acceptor.primitive is not None and not association.accepted_contexts:
        return "it takes no objects of these classes"
    return "it did not answer the association request, or aborted it" if connected else "no connection"
