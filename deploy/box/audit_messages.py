"""DICOM audit messages (PS3.15, A.5), as XML by the schema of A.5.1; each says who did what to whose data, and when.

They identify patients and studies, as they are meant to; they have no place outside the audit trail.
"""

from __future__ import annotations

import ipaddress
import re
from base64 import b64encode
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Literal, NamedTuple
from xml.etree import ElementTree as ET

from pydicom.uid import ImplicitVRLittleEndian

#: What XML 1.0 has no place for, in any form.
_NO_XML = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")


class Code(NamedTuple):
    """A code of DICOM (PS3.16, annex D), unless the scheme says otherwise."""

    value: str
    meaning: str
    scheme: str = "DCM"


ACTIVITY = Code("110100", "Application Activity")
START, STOP = Code("110120", "Application Start"), Code("110121", "Application Stop")
LOG_USED = Code("110101", "Audit Log Used")
BEGIN = Code("110102", "Begin Transferring DICOM Instances")
ACCESSED = Code("110103", "DICOM Instances Accessed")
TRANSFERRED = Code("110104", "DICOM Instances Transferred")
QUERY, _SOP_CLASS = Code("110112", "Query"), Code("110181", "SOP Class UID")
ALERT = Code("110113", "Security Alert")
NODE_AUTHENTICATION, SOFTWARE = Code("110126", "Node Authentication"), Code("110131", "Software Configuration")
AUTHENTICATION = Code("110114", "User Authentication")
LOGIN = Code("110122", "Login")
APPLICATION = Code("110150", "Application")
DESTINATION, SOURCE = Code("110152", "Destination Role ID"), Code("110153", "Source Role ID")
_STUDY, _PATIENT = Code("110180", "Study Instance UID"), Code("2", "Patient Number", "RFC-3881")

URI = Code("12", "URI", "RFC-3881")
#: Of this project: PS3.15 names none for what answers.
RELEASE = Code("release-sha256", "SHA-256 of the release's SHA256SUMS", "99MRITRANSFER")

Action = Literal["C", "R", "U", "D", "E"]
Outcome = Literal["0", "4", "8", "12"]
#: A.5.1: nominal success, minor and serious failure.
SUCCESS: Outcome = "0"
MINOR: Outcome = "4"
SERIOUS: Outcome = "8"


@dataclass(frozen=True)
class Actor:
    """Who takes part in an event.

    Attributes:
        by: how they are known: `certificate`, `token`, `session`, `association`, `box` or `nothing`.
        name: an AE title, a certificate's name, a user of this machine; a token does not say who holds it.
        address: IP address, where there is one.
    """

    by: str
    name: str
    address: str = ""


@dataclass(frozen=True)
class Subject:
    """Whose data an event is about.

    Attributes:
        study_instance_uid: of the one study.
        patient_id, patient_name: of its patient; empty where they are not known.
        instances: how many of each SOP class.
    """

    study_instance_uid: str
    patient_id: str
    patient_name: str
    instances: Mapping[str, int]


class Query(NamedTuple):
    """What an archive was asked: by which SOP class, and the identifier in Implicit VR Little Endian."""

    sop_class_uid: str
    identifier: bytes


@dataclass(frozen=True)
class Event:
    """One event.

    Attributes:
        event: which; `kinds`: more closely.
        action: A.5.1: create, read, update, delete, execute.
        actors: who took part, each with a role or None; the first asked for it.
        outcome: A.5.1.
        words: what the outcome was of, where it was no success.
        subject: whose data it is about.
        things: what else it is about: a kind of name, a name, words.
        query: what was asked.
    """

    event: Code
    action: Action
    actors: Sequence[tuple[Actor, Code | None]]
    kinds: Sequence[Code] = ()
    outcome: Outcome = SUCCESS
    words: str = ""
    subject: Subject | None = None
    things: Sequence[tuple[Code, str, str]] = ()
    query: Query | None = None


def xml(event: Event, source: str) -> str:
    """An event as AuditMessage; `source` is the AE title of the box that reports it."""
    root = ET.Element("AuditMessage")
    told = _add(
        root,
        "EventIdentification",
        EventActionCode=event.action,
        EventDateTime=datetime.now(UTC).isoformat(timespec="milliseconds"),
        EventOutcomeIndicator=event.outcome,
    )
    _code(told, "EventID", event.event)
    for kind in event.kinds:
        _code(told, "EventTypeCode", kind)
    if event.words:
        _add(told, "EventOutcomeDescription").text = _clean(event.words)
    for place, (actor, role) in enumerate(event.actors):
        _actor(root, actor, role, requestor=place == 0)
    _add(_add(root, "AuditSourceIdentification", AuditSourceID=source), "AuditSourceTypeCode", **{"csd-code": "4"})
    if event.subject is not None:
        _subject(root, event.subject)
    if event.query is not None:
        _query(root, event.query)
    for kind, name, words in event.things:
        _object(root, kind, name, words, ParticipantObjectTypeCode="2", ParticipantObjectTypeCodeRole="13")
    return ET.tostring(root, encoding="unicode")


def _actor(root: ET.Element, actor: Actor, role: Code | None, requestor: bool) -> None:
    named = {"UserID": actor.name or "unknown", "UserIsRequestor": "true" if requestor else "false"}
    if actor.by == "association":
        named["AlternativeUserID"] = f"AETITLES={actor.name}"
    if actor.address:
        named |= {"NetworkAccessPointID": actor.address, "NetworkAccessPointTypeCode": _point(actor.address)}
    made = _add(root, "ActiveParticipant", **named)
    if role is not None:
        _code(made, "RoleIDCode", role)


def _point(address: str) -> str:
    """A.5.1: 1 a machine's name, 2 an IP address."""
    try:
        ipaddress.ip_address(address)
    except ValueError:
        return "1"
    return "2"


def _subject(root: ET.Element, subject: Subject) -> None:
    uid = subject.study_instance_uid
    study = _object(root, _STUDY, uid, uid, ParticipantObjectTypeCode="2", ParticipantObjectTypeCodeRole="3")
    described = _add(study, "ParticipantObjectDescription")
    for sop_class_uid, count in subject.instances.items():
        _add(described, "SOPClass", UID=sop_class_uid, NumberOfInstances=str(count))
    number, name = subject.patient_id or "unknown", subject.patient_name or "unknown"
    _object(root, _PATIENT, number, name, ParticipantObjectTypeCode="1", ParticipantObjectTypeCodeRole="1")


def _query(root: ET.Element, query: Query) -> None:
    """A.5.3.10."""
    named = {"ParticipantObjectTypeCode": "2", "ParticipantObjectTypeCodeRole": "3"}
    made = _add(root, "ParticipantObjectIdentification", ParticipantObjectID=query.sop_class_uid, **named)
    _code(made, "ParticipantObjectIDTypeCode", _SOP_CLASS)
    _add(made, "ParticipantObjectQuery").text = b64encode(query.identifier).decode()
    _add(
        made,
        "ParticipantObjectDetail",
        type="TransferSyntax",
        value=b64encode(ImplicitVRLittleEndian.encode()).decode(),
    )


def _object(root: ET.Element, kind: Code, name: str, words: str, **named: str) -> ET.Element:
    made = _add(root, "ParticipantObjectIdentification", ParticipantObjectID=name, **named)
    _code(made, "ParticipantObjectIDTypeCode", kind)
    _add(made, "ParticipantObjectName").text = _clean(words)
    return made


def _code(parent: ET.Element, name: str, code: Code) -> None:
    named = {"csd-code": code.value, "codeSystemName": code.scheme, "originalText": code.meaning}
    _add(parent, name, **named)


def _add(parent: ET.Element, element: str, **named: str) -> ET.Element:
    return ET.SubElement(parent, element, {name: _clean(value) for name, value in named.items()})


def _clean(text: str) -> str:
    return _NO_XML.sub("\ufffd", text)
