"""Storage commitment (PS3.4, annex J): an archive says that it will keep what was sent, or that it will not."""

from __future__ import annotations

import logging
import sqlite3
import threading
from collections.abc import Sequence

from pydicom.dataset import Dataset
from pynetdicom import evt
from pynetdicom.sop_class import (  # type: ignore[attr-defined]
    StorageCommitmentPushModel,
    StorageCommitmentPushModelInstance,
)

from deploy.box.delivery import Delivery
from deploy.box.outbox import Outbox
from deploy.box.peer import Peer

#: For which the report is waited for in the association of the request; later it comes in one of its own.
_SAME_ASSOCIATION_S = 5.0
#: Request storage commitment (PS3.4, table J.3-1).
_REQUEST = 1
_SUCCESS, _NO_SUCH_ATTRIBUTE, _PROCESSING_FAILURE = 0x0000, 0x0105, 0x0110

_LOG = logging.getLogger(__name__)


class CommitmentScu:
    """Asks one destination; for one thread."""

    def __init__(self, peer: Peer, outbox: Outbox) -> None:
        """Nothing is asked yet.

        Args:
            peer: the destination.
            outbox: where reports are entered.
        """
        self._peer, self._outbox = peer, outbox

    def ask(self, transaction_uid: str, deliveries: Sequence[Delivery]) -> str:
        """Ask for commitment of what was sent; in words why that was not possible, or nothing."""
        came = threading.Event()

        def reported(event: evt.Event) -> tuple[int, None]:
            status, _ = heard(event, self._outbox)
            came.set()
            return status, None

        handlers = [(evt.EVT_N_EVENT_REPORT, reported)]
        with self._peer.associated([StorageCommitmentPushModel], handlers) as association:
            if isinstance(association, str):
                return association
            try:
                status, _ = association.send_n_action(
                    _request(transaction_uid, deliveries),
                    _REQUEST,
                    StorageCommitmentPushModel,
                    StorageCommitmentPushModelInstance,
                )
            except RuntimeError:
                return "the association ended before the request for storage commitment"
            if "Status" not in status:
                return "it did not answer the request for storage commitment"
            if status.Status != _SUCCESS:
                return f"it refused the request for storage commitment: 0x{int(status.Status):04X}"
            came.wait(_SAME_ASSOCIATION_S)
        return ""


def heard(event: evt.Event, outbox: Outbox) -> tuple[int, None]:
    """Enter a report (N-EVENT-REPORT); the status that answers it."""
    try:
        told = event.event_information
        failed = {str(item.ReferencedSOPInstanceUID): int(item.FailureReason) for item in _items(told, "Failed")}
        kept = [str(item.ReferencedSOPInstanceUID) for item in _items(told, "Referenced")]
        count = outbox.commit(str(told.TransactionUID), kept, failed)
    except (AttributeError, ValueError, TypeError, KeyError) as error:
        _LOG.warning("a report of storage commitment cannot be read: %s", type(error).__name__)
        return _NO_SUCH_ATTRIBUTE, None
    except sqlite3.Error as error:
        _LOG.error("a report of storage commitment cannot be kept: %s", error)
        return _PROCESSING_FAILURE, None
    _LOG.info("storage commitment: %d committed, %d not", count, len(failed))
    return _SUCCESS, None


def _items(told: Dataset, which: str) -> Sequence[Dataset]:
    found: Sequence[Dataset] = told.get(f"{which}SOPSequence") or ()
    return found


def _request(transaction_uid: str, deliveries: Sequence[Delivery]) -> Dataset:
    made = Dataset()
    made.TransactionUID = transaction_uid
    made.ReferencedSOPSequence = []
    for each in deliveries:
        item = Dataset()
        item.ReferencedSOPClassUID, item.ReferencedSOPInstanceUID = each.sop_class_uid, each.sop_instance_uid
        made.ReferencedSOPSequence.append(item)
    return made
