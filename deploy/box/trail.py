"""What happens in a box, as audit messages (PS3.15, A.5.3): which event, who took part, whose data.

A trail that cannot be written stops nothing; the log and `/health/ready` say so.
"""

from __future__ import annotations

import logging
import threading
import time
from collections import Counter
from collections.abc import Hashable
from dataclasses import dataclass, field, replace
from io import BytesIO
from pathlib import Path
from typing import BinaryIO

import pydicom

from deploy.box import audit_messages as told
from deploy.box.audit import Audit
from deploy.box.audit_messages import Actor, Event, Query, Subject
from deploy.box.destinations import Destination, Dicom
from deploy.box.journal import Instance
from pipeline.dicom.values import UNREADABLE
from pipeline.errors import DataError, StorageError

#: Within which the same refusal from the same address is told once: nobody fills the disk by knocking.
_QUIET_S = 60.0
_MOST_QUIET = 1_000
_IDENTITY = ("StudyInstanceUID", "PatientID", "PatientName", "SpecificCharacterSet")

_LOG = logging.getLogger(__name__)


@dataclass
class _Transfer:
    """What one sender has brought of one study so far."""

    actor: Actor
    subject: Subject
    classes: Counter[str] = field(default_factory=Counter)


class Trail:
    """For several threads."""

    def __init__(self, audit: Audit | None, box: str) -> None:
        """`audit`: where messages go; None: nowhere. `box`: the AE title of the box."""
        self._audit, self._box = audit, Actor("box", box)
        self._lock = threading.Lock()
        self._transfers: dict[tuple[Hashable, str], _Transfer] = {}
        self._told: dict[tuple[str, str], float] = {}
        #: Why the last message could not be written; None: it was.
        self.trouble: str | None = None

    def activity(self, started: bool) -> None:
        """The box started, or stops."""
        kind = told.START if started else told.STOP
        self._record(Event(told.ACTIVITY, "E", [(self._box, told.APPLICATION)], [kind]))

    def release(self, name: str, sha256: str) -> None:
        """Which release answers from now on."""
        things = [(told.RELEASE, sha256, name)]
        self._record(Event(told.ALERT, "E", [(self._box, None)], [told.SOFTWARE], things=things))

    def refused(self, actor: Actor, words: str) -> None:
        """Somebody was turned away."""
        if not self._once((words, actor.address)):
            return
        actors = [(self._box, None), (actor, None)]
        self._record(Event(told.ALERT, "E", actors, [told.NODE_AUTHENTICATION], told.SERIOUS, words))

    def logged_in(self, actor: Actor, right: bool) -> None:
        """Somebody showed a token to the form of the page."""
        if not right and not self._once(("login", actor.address)):
            return
        outcome, words = (told.SUCCESS, "") if right else (told.MINOR, "a wrong token")
        actors = [(actor, None), (self._box, None)]
        self._record(Event(told.AUTHENTICATION, "E", actors, [told.LOGIN], outcome, words))

    def log_used(self, actor: Actor, folder: Path) -> None:
        """Somebody read the audit trail."""
        things = [(told.URI, folder.as_uri(), "Security Audit Log")]
        self._record(Event(told.LOG_USED, "R", [(actor, None)], things=things))

    def queried(self, actor: Actor, archive: Dicom, query: Query) -> None:
        """Somebody asks an archive what it has, or to send it."""
        there = Actor("association", archive.ae_title, archive.address)
        actors = [(actor, None), (self._box, told.SOURCE), (there, told.DESTINATION)]
        self._record(Event(told.QUERY, "E", actors, query=query))

    def kept(self, transfer: Hashable, actor: Actor, instance: Instance, content: bytes) -> None:
        """An instance was kept; the first of a study in a transfer is told at once, all of them by `ended`."""
        study, sop_class = instance.study_instance_uid, instance.sop_class_uid
        with self._lock:
            begun = (transfer, study) not in self._transfers
            if begun:
                self._transfers[transfer, study] = _Transfer(actor, subject(BytesIO(content), study))
            moved = self._transfers[transfer, study]
            moved.classes[sop_class] += 1
        if begun:
            self._record(self._moved(told.BEGIN, "E", moved, {sop_class: 1}))

    def ended(self, transfer: Hashable) -> None:
        """A transfer is over, however it ended."""
        with self._lock:
            keys = [key for key in self._transfers if key[0] == transfer]
            done = [self._transfers.pop(key) for key in keys]
        for each in done:
            self._record(self._moved(told.TRANSFERRED, "C", each, each.classes))

    def sent(self, destination: Destination, path: Path, sop_class_uid: str) -> None:
        """A result was taken by a destination."""
        whose = replace(subject(path, ""), instances={sop_class_uid: 1})
        to = Actor("nothing", destination.stow.url if destination.stow else destination.name)
        if destination.dicom is not None:
            to = Actor("association", destination.dicom.ae_title, destination.dicom.address)
        actors = [(self._box, told.SOURCE), (to, told.DESTINATION)]
        self._record(Event(told.TRANSFERRED, "R", actors, subject=whose))

    def looked_at(self, actor: Actor, study_instance_uid: str, path: Path | None) -> None:
        """Somebody saw whose study it is, and what was said of it."""
        whose = Subject(study_instance_uid, "", "", {}) if path is None else subject(path, study_instance_uid)
        self._record(Event(told.ACCESSED, "R", [(actor, None), (self._box, told.SOURCE)], subject=whose))

    def _moved(self, event: told.Code, action: told.Action, moved: _Transfer, classes: dict[str, int]) -> Event:
        actors = [(moved.actor, told.SOURCE), (self._box, told.DESTINATION)]
        return Event(event, action, actors, subject=replace(moved.subject, instances=dict(classes)))

    def _once(self, key: tuple[str, str]) -> bool:
        with self._lock:
            now = time.monotonic()
            if now < self._told.get(key, 0.0) + _QUIET_S and key in self._told:
                return False
            if len(self._told) >= _MOST_QUIET:
                self._told.clear()
            self._told[key] = now
            return True

    def _record(self, event: Event) -> None:
        if self._audit is None:
            return
        try:
            self._audit.record(event)
        except (OSError, StorageError, DataError) as error:
            self.trouble = f"the audit trail cannot be written: {type(error).__name__}"
            _LOG.error("%s", self.trouble)
        else:
            self.trouble = None


def subject(file: Path | BinaryIO, study_instance_uid: str) -> Subject:
    """Whose an instance is, as it says; what cannot be read is empty."""
    try:
        read = pydicom.dcmread(file, stop_before_pixels=True, specific_tags=list(_IDENTITY))
        found = [str(read.get(name) or "") for name in _IDENTITY[:3]]
    except UNREADABLE:
        found = ["", "", ""]
    return Subject(study_instance_uid or found[0] or "unknown", found[1], found[2], {})
