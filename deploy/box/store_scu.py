"""C-STORE SCU (PS3.4, annex B): results to one archive, several in one association."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import pydicom
from pynetdicom.association import Association
from pynetdicom.status import STORAGE_SERVICE_CLASS_STATUS, code_to_category

from deploy.box.delivery import Delivery, Outcome
from deploy.box.peer import Peer

_OTHER_CLASS = "it takes no objects of this class"


class StoreScu:
    """Sends to one destination; for one thread."""

    def __init__(self, peer: Peer, folder: Path) -> None:
        """Nothing is sent yet.

        Args:
            peer: the destination.
            folder: of the results.
        """
        self._peer, self._folder = peer, folder

    def send(
        self, deliveries: Sequence[Delivery], is_due: Callable[[Delivery], bool]
    ) -> Iterator[tuple[Delivery, Outcome]]:
        """What became of each that was tried: where the association ends in the midst of it, the rest come again."""
        with self._peer.associated(sorted({each.sop_class_uid for each in deliveries})) as association:
            for each in deliveries:
                if isinstance(association, str):
                    yield each, Outcome(None, association)
                    continue
                if not is_due(each):
                    continue
                outcome = _stored(association, self._folder / each.file)
                yield each, outcome
                if outcome.status is None and outcome.reason != _OTHER_CLASS:
                    return


def meaning(status: int) -> str:
    """A status of C-STORE in words (PS3.4, table B.2-1; PS3.7, annex C)."""
    category, words = STORAGE_SERVICE_CLASS_STATUS.get(status, (code_to_category(status), ""))
    return f"0x{status:04X}, {category.lower()}{': ' * bool(words)}{words.lower()}"


def _stored(association: Association, path: Path) -> Outcome:
    read = pydicom.dcmread(path)
    try:
        answer = association.send_c_store(read)
    except ValueError:
        return Outcome(None, _OTHER_CLASS)
    except RuntimeError:
        return Outcome(None, "the association ended")
    if "Status" not in answer:
        return Outcome(None, "it did not answer, or ended the association")
    status = int(answer.Status)
    return Outcome(status, meaning(status) if status else "")
