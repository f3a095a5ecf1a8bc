"""Studies that a PACS has already, asked for: found by C-FIND, moved to the box by C-MOVE or into a folder by C-GET.

Study Root (PS3.4, annex C). What C-MOVE brings goes through the box's front door, as everything else; what C-GET
brings, for a training set, goes into a folder.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

from pydicom.datadict import tag_for_keyword
from pydicom.dataset import Dataset
from pynetdicom import build_role, evt
from pynetdicom.dimse_primitives import C_STORE
from pynetdicom.dsutils import encode
from pynetdicom.sop_class import (  # type: ignore[attr-defined]
    StudyRootQueryRetrieveInformationModelFind,
    StudyRootQueryRetrieveInformationModelGet,
    StudyRootQueryRetrieveInformationModelMove,
)

from deploy.box.audit_messages import Query
from deploy.box.incoming import name_of
from deploy.box.peer import Peer
from deploy.box.scp import CLASSES
from pipeline.errors import ConfigError, DicomError, StorageError
from pipeline.files import write_atomic
from pipeline.progress import say

#: What is told of a study beside its UID.
SHOWN = ("StudyDate", "ModalitiesInStudy", "NumberOfStudyRelatedInstances")
_SUCCESS, _PENDING, _PENDING_WITHOUT_SOME = 0x0000, 0xFF00, 0xFF01
#: Of C-STORE: out of resources.
_NO_ROOM = 0xA700


@dataclass(frozen=True)
class Fetched:
    """What became of a study.

    Attributes:
        study_instance_uid: of it.
        completed, failed: instances, as the archive counts its sub-operations.
        reason: why it is not whole; empty where it is.
    """

    study_instance_uid: str
    completed: int
    failed: int
    reason: str


#: Is told what an archive is asked, before it is.
Told = Callable[[Query], None]


def found(peer: Peer, keys: Mapping[str, str], told: Told) -> list[Dataset]:
    """Studies that match; each with `SHOWN` and its StudyInstanceUID.

    Args:
        peer: the archive.
        keys: keywords of attributes and what they are to match (PS3.4, C.2.2.2): StudyDate, 20260101-20260131. What is
            not ASCII is asked for in UTF-8.
        told: of the query.

    Raises:
        DicomError: it cannot be asked this, or did not answer.
    """
    asked = _identifier(dict.fromkeys(("StudyInstanceUID", *SHOWN), "") | dict(keys))
    told(_query(StudyRootQueryRetrieveInformationModelFind, asked))
    with peer.associated([StudyRootQueryRetrieveInformationModelFind]) as association:
        if isinstance(association, str):
            raise DicomError("an association with the archive", association, "See to its settings and to it.")
        matches = []
        for status, match in association.send_c_find(asked, StudyRootQueryRetrieveInformationModelFind):
            code = status.get("Status")
            if code in (_PENDING, _PENDING_WITHOUT_SOME) and match is not None:
                matches.append(match)
            elif code != _SUCCESS:
                raise DicomError("the studies that match", _said(code), "Ask for less, or see to the archive.")
    return sorted(matches, key=lambda match: str(match.StudyInstanceUID))


def moved(peer: Peer, studies: Sequence[str], ae_title: str, told: Told) -> list[Fetched]:
    """Have an archive send studies to an AE title, by whose name it knows where that is."""
    model = StudyRootQueryRetrieveInformationModelMove
    results = []
    for study in studies:
        asked = _identifier({"StudyInstanceUID": study})
        told(_query(model, asked))
        with peer.associated([model]) as association:
            if isinstance(association, str):
                results.append(Fetched(study, 0, 0, association))
                continue
            answers = association.send_c_move(asked, ae_title, model)
            results.append(_last(study, [status for status, _ in answers]))
    return results


def got(peer: Peer, studies: Sequence[str], folder: Path, told: Told) -> list[Fetched]:
    """Have an archive send the MR images of studies in the same association, into a folder.

    Files are named by hashes of their UIDs. One that is there is replaced.
    """
    model = StudyRootQueryRetrieveInformationModelGet
    folder.mkdir(parents=True, exist_ok=True)
    roles = [build_role(each, scp_role=True) for each in CLASSES]
    handlers: list[Any] = [(evt.EVT_C_STORE, _kept, [folder])]
    results = []
    for study in studies:
        asked = _identifier({"StudyInstanceUID": study})
        told(_query(model, asked))
        with peer.associated([model, *CLASSES], handlers, roles) as association:
            if isinstance(association, str):
                results.append(Fetched(study, 0, 0, association))
                continue
            answers = association.send_c_get(asked, model)
            results.append(_last(study, [status for status, _ in answers]))
    return results


def listed(path: Path) -> list[str]:
    """The UIDs that stand in a file, apart by blanks or lines.

    Raises:
        ConfigError: it cannot be read.
    """
    try:
        return path.read_text(encoding="utf-8").split()
    except (OSError, UnicodeDecodeError) as error:
        remedy = "Give the path of a text file of UIDs."
        raise ConfigError(f"a file of UIDs in {path}", type(error).__name__, remedy) from error


def shown(match: Dataset) -> str:
    """A line of a list."""
    cells = [str(match.get(keyword) or "-") for keyword in ("StudyInstanceUID", *SHOWN)]
    return "  ".join(cells)


def all_of(peer: Peer, studies: Sequence[str], to: Path | None, ae_title: str, told: Told) -> None:
    """Fetch studies, and say of each what came.

    Args:
        peer: the archive.
        studies: their UIDs.
        to: a folder; None: to `ae_title`.
        ae_title: of the box, which must be at work.
        told: of each request.

    Raises:
        DicomError: not all came; the message has their number.
    """
    results = moved(peer, studies, ae_title, told) if to is None else got(peer, studies, to, told)
    for each in results:
        say(f"{each.study_instance_uid}: {each.completed} instances{'; ' * bool(each.reason)}{each.reason}")
    if missing := sum(bool(each.reason) for each in results):
        raise DicomError(f"{len(results)} studies, whole", f"{len(results) - missing}", "Fetch the others again.")


def _kept(event: evt.Event, folder: Path) -> int:
    content = event.encoded_dataset()
    name = name_of(str(cast(C_STORE, event.request).AffectedSOPInstanceUID))
    try:
        write_atomic(folder / f"{name}.dcm", lambda handle: handle.write(content))
    except (OSError, StorageError):
        return _NO_ROOM
    return _SUCCESS


def _identifier(keys: Mapping[str, str]) -> Dataset:
    made = Dataset()
    made.QueryRetrieveLevel = "STUDY"
    if not all(value.isascii() for value in keys.values()):
        # Without it each other character would be sent as `?`, which matches any (PS3.4, C.2.2.2.4).
        made.SpecificCharacterSet = "ISO_IR 192"
    for keyword, value in keys.items():
        if tag_for_keyword(keyword) is None:
            remedy = "Name an attribute by its keyword, such as PatientID or StudyDate."
            raise DicomError("keywords of DICOM, each with a value", keyword, remedy)
        setattr(made, keyword, value)
    return made


def _query(model: str, identifier: Dataset) -> Query:
    encoded = encode(identifier, is_implicit_vr=True, is_little_endian=True)
    if encoded is None:
        remedy = "Names and descriptions may hold any letter; dates, codes and UIDs those of ASCII alone."
        raise DicomError("values that these attributes can hold", "one that cannot be encoded", remedy)
    return Query(model, encoded)


def _last(study: str, statuses: Sequence[Dataset]) -> Fetched:
    """What the last answer says; a study of which the archive has nothing is not whole either."""
    last = statuses[-1] if statuses else Dataset()
    code = last.get("Status")
    completed = int(last.get("NumberOfCompletedSuboperations") or 0)
    failed = int(last.get("NumberOfFailedSuboperations") or 0)
    reason = "" if code == _SUCCESS and not failed else f"the archive answered {_said(code)}"
    if not reason and not completed:
        reason = "the archive has nothing of it"
    return Fetched(study, completed, failed, reason)


def _said(code: int | None) -> str:
    return "nothing" if code is None else f"0x{code:04X}"
