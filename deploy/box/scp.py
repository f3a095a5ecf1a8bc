"""C-STORE and C-ECHO (PS3.4, annexes A and B): the front door of the box, in DICOM's words."""

from __future__ import annotations

import ipaddress
import logging
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import cast

from pydicom.uid import (
    JPEG2000,
    DeflatedExplicitVRLittleEndian,
    EnhancedMRImageStorage,
    ExplicitVRBigEndian,
    ExplicitVRLittleEndian,
    ImplicitVRLittleEndian,
    JPEG2000Lossless,
    JPEGLossless,
    JPEGLosslessSV1,
    JPEGLSLossless,
    LegacyConvertedEnhancedMRImageStorage,
    MRImageStorage,
    RLELossless,
)
from pynetdicom import AE, evt
from pynetdicom.events import EventHandlerType
from pynetdicom.pdu_primitives import A_ASSOCIATE
from pynetdicom.presentation import build_context
from pynetdicom.sop_class import StorageCommitmentPushModel, Verification  # type: ignore[attr-defined]
from pynetdicom.transport import ThreadedAssociationServer

from deploy.box.audit_messages import Actor
from deploy.box.front import Front
from deploy.box.incoming import Incoming
from deploy.box.journal import Instance
from deploy.box.quarantine import Quarantine
from deploy.box.settings import Receive
from deploy.box.watch import Watch
from pipeline.errors import ConfigError, DicomError, StorageError

#: What a study is answered from.
CLASSES = (MRImageStorage, EnhancedMRImageStorage, LegacyConvertedEnhancedMRImageStorage)
#: In this order of preference, whatever the sender's is.
SYNTAXES = (
    *(ExplicitVRLittleEndian, ImplicitVRLittleEndian, DeflatedExplicitVRLittleEndian, ExplicitVRBigEndian),
    *(JPEGLossless, JPEGLosslessSV1, JPEGLSLossless, JPEG2000Lossless, JPEG2000, RLELossless),
)
# Statuses of C-STORE, PS3.4 table B.2-1.
SUCCESS, NO_RESOURCES, NOT_UNDERSTOOD = 0x0000, 0xA700, 0xC000

#: Result of an A-ASSOCIATE-RJ (PS3.8, table 9-21): rejected for now.
_TRANSIENT = 0x02

#: Within which an association is asked for, once a byte of it came.
_REQUEST_S = 10.0

_LOG = logging.getLogger(__name__)


@contextmanager
def listening(
    settings: Receive,
    incoming: Incoming,
    quarantine: Quarantine,
    reports: Sequence[EventHandlerType] = (),
    watch: Watch | None = None,
) -> Iterator[int]:
    """Receive until the context is left; gives the port.

    Args:
        settings: who may send what.
        incoming: where it goes.
        quarantine: where that goes which cannot be understood.
        reports: who hears reports of storage commitment.
        watch: is told what comes; None: nobody is.

    Raises:
        ConfigError: the port is taken, or a file of TLS cannot be used.
    """
    entity = AE(settings.ae_title)
    entity.maximum_associations = settings.associations
    entity.maximum_pdu_size = settings.pdu_bytes
    entity.dimse_timeout = entity.network_timeout = settings.idle_s
    entity.acse_timeout = min(settings.idle_s, _REQUEST_S)
    entity.require_called_aet = True
    entity.require_calling_aet = sorted({sender.ae_title for sender in settings.senders})
    server = _server(entity, settings, watch or Watch(), incoming, quarantine, reports)
    thread = threading.Thread(target=server.serve_forever, name="receive", daemon=True)
    thread.start()
    try:
        yield server.server_address[1]
    finally:
        server.shutdown()
        thread.join()


def _server(
    entity: AE,
    settings: Receive,
    watch: Watch,
    incoming: Incoming,
    quarantine: Quarantine,
    reports: Sequence[EventHandlerType],
) -> ThreadedAssociationServer:
    contexts = [build_context(Verification), *(build_context(each, list(SYNTAXES)) for each in CLASSES)]
    if reports:
        # Who reports asks for the association, and is the SCP in it (PS3.4, J.3.3).
        contexts.append(commitment := build_context(StorageCommitmentPushModel))
        commitment.scu_role, commitment.scp_role = False, True
    try:
        return entity.make_server(
            (settings.address, settings.port),
            contexts=contexts,
            evt_handlers=[
                (evt.EVT_REQUESTED, _require_sender, [settings, watch]),
                (evt.EVT_ACCEPTED, lambda _: watch.association("accepted")),
                (evt.EVT_REJECTED, _rejected, [watch]),
                (evt.EVT_ABORTED, lambda _: watch.association("aborted")),
                (evt.EVT_CONN_CLOSE, lambda event: watch.trail.ended(event.assoc)),
                (evt.EVT_C_STORE, _store, [watch, incoming, quarantine]),
                *reports,
            ],
            server_class=Front,
            limits=settings,
            watch=watch,
        )
    except OSError as error:
        where = f"{settings.address}:{settings.port}"
        remedy = "See to `receive.address`, `port` and the files of `tls`."
        raise ConfigError(f"to listen at {where}", str(error), remedy) from error


def _require_sender(event: evt.Event, settings: Receive, watch: Watch) -> None:
    """Reject where the AE title is one of the senders', but not from there; pynetdicom rejects other titles."""
    title = _calling(event)
    address = ipaddress.ip_address(event.assoc.requestor.address)
    mine = [sender for sender in settings.senders if sender.ae_title == title]
    if mine and not any(address in network for sender in mine for network in sender.networks):
        watch.turned_away(str(address), title)
        event.assoc.acse.send_reject(0x01, 0x01, 0x03)
        event.assoc.kill()


def _rejected(event: evt.Event, watch: Watch) -> None:
    """Tell who was rejected, or that there was no room for more."""
    if cast(A_ASSOCIATE, event.assoc.acceptor.primitive).result == _TRANSIENT:
        watch.no_room(_calling(event))
    else:
        watch.turned_away(event.assoc.requestor.address, _calling(event))


def _store(event: evt.Event, watch: Watch, incoming: Incoming, quarantine: Quarantine) -> int:
    """The status of one C-STORE; success only for what `Incoming.keep` has kept."""
    sender, content = _calling(event), event.encoded_dataset()
    found = _kept(sender, content, incoming, quarantine)
    if isinstance(found, int):
        watch.refused("dimse", found)
        return found
    actor = Actor("association", sender, event.assoc.requestor.address)
    watch.received("dimse", event.assoc, actor, found, content)
    # Who hung up meanwhile was told of by another thread before this instance was.
    if _hung_up(event):
        watch.trail.ended(event.assoc)
    return SUCCESS


def _kept(sender: str, content: bytes, incoming: Incoming, quarantine: Quarantine) -> Instance | int:
    """The instance, once it is kept; else the status that says why not."""
    try:
        return incoming.keep(content, sender)
    except StorageError as error:
        _LOG.error("an instance of %s was refused: %s", sender, error)
        return NO_RESOURCES
    except DicomError as error:
        _LOG.warning("an instance of %s was refused: %s", sender, error)
        try:
            quarantine.add(content, str(error))
        except (OSError, StorageError) as full:
            _LOG.error("it could not be kept for a look at it: %s", full)
        return NOT_UNDERSTOOD


def _hung_up(event: evt.Event) -> bool:
    """Whether the connection is closed; that is so before EVT_CONN_CLOSE is told."""
    transport = event.assoc.dul.socket
    return transport is None or transport.socket is None


def _calling(event: evt.Event) -> str:
    """The AE title of the sender; the association has been asked for."""
    return str(cast(A_ASSOCIATE, event.assoc.requestor.primitive).calling_ae_title).strip()
