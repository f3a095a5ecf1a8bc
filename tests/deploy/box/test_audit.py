"""The audit trail: what stands in it, and what is noticed of whoever changes it."""

from __future__ import annotations

import json
import resource
import shutil
import stat
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any
from xml.etree import ElementTree as ET

import pytest

from deploy.box import audit_messages as told
from deploy.box.audit import Audit, Head, messages, verify
from deploy.box.audit_messages import Actor, Event, Subject
from deploy.box.trail import Trail
from deploy.box.watch import Watch
from pipeline.errors import DataError
from tests.deploy.box.conftest import Receiver, associate, instance
from tests.waiting import within

BOX = Actor("box", "MRIBOX")
#: Of the event "DICOM Instances Transferred".
TRANSFERRED = 'csd-code="110104"'


def activity() -> Event:
    return Event(told.ACTIVITY, "E", [(BOX, told.APPLICATION)], [told.START])


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A trail of five records."""
    audit = Audit(tmp_path / "audit", "MRIBOX")
    for _ in range(5):
        audit.record(activity())
    return tmp_path / "audit"


def file(folder: Path) -> Path:
    (found,) = folder.glob("*.jsonl")
    return found


def lines(folder: Path) -> list[bytes]:
    return file(folder).read_bytes().splitlines(keepends=True)


def test_a_whole_trail_is_whole_and_nobody_else_reads_it(folder: Path) -> None:
    assert verify(folder).number == 5
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    assert stat.S_IMODE(file(folder).stat().st_mode) == 0o600


def test_it_goes_on_after_a_stop_and_over_days(folder: Path) -> None:
    file(folder).rename(folder / "2020-01-01.jsonl")
    Audit(folder, "MRIBOX").record(activity())
    assert verify(folder).number == 6
    assert len(list(folder.glob("*.jsonl"))) == 2


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda found: [found[0].replace(b"110120", b"110121"), *found[1:]], "the hash of record 1"),
        (lambda found: [*found[:2], *found[3:]], "record 3 in line 3"),
        (lambda found: found[1:], "record 1 in line 1"),
        (lambda found: [found[1], found[0], *found[2:]], "record 1 in line 1"),
        (lambda found: [*found, found[-1]], "record 6"),
        (lambda found: [*found[:2], b"{}\n", *found[3:]], "a record in line 3"),
        (lambda found: found[:-2], "5 records"),
        (lambda found: [], "5 records"),
    ],
)
def test_whatever_is_changed_is_told(folder: Path, change: Callable[[list[bytes]], list[bytes]], message: str) -> None:
    file(folder).write_bytes(b"".join(change(lines(folder))))
    with pytest.raises(DataError, match=message):
        verify(folder)


def test_who_makes_all_of_it_anew_is_told_by_a_head_that_was_noted(folder: Path, tmp_path: Path) -> None:
    noted = verify(folder)
    shutil.rmtree(folder)
    made = Audit(folder, "MRIBOX")
    for _ in range(6):
        made.record(activity())
    assert verify(folder).number == 6
    with pytest.raises(DataError, match="record 5 as it was noted"):
        verify(folder, noted)


def test_a_stop_in_the_midst_of_a_record_breaks_nothing(folder: Path) -> None:
    head = (folder / "head.json").read_bytes()
    Audit(folder, "MRIBOX").record(activity())
    (folder / "head.json").write_bytes(head)
    assert verify(folder).number == 6
    with open(file(folder), "ab") as handle:
        handle.write(b'{"number": 7, "ti')
    Audit(folder, "MRIBOX").record(activity())
    assert verify(folder).number == 7


def test_what_was_cut_off_stays_told_after_a_start(folder: Path) -> None:
    file(folder).write_bytes(b"".join(lines(folder)[:3]))
    Audit(folder, "MRIBOX").record(activity())
    with pytest.raises(DataError, match="record 4 in line 4"):
        verify(folder)


def test_many_threads_make_one_chain(folder: Path) -> None:
    audits = [Audit(folder, "MRIBOX") for _ in range(2)]
    threads = [threading.Thread(target=audits[each % 2].record, args=(activity(),)) for each in range(20)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert verify(folder) != Head()
    assert verify(folder).number == 25


def test_the_box_goes_on_recording_while_the_trail_is_verified(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What comes meanwhile is left for the next time."""
    box, read = Audit(folder, "MRIBOX"), Path.read_bytes

    def late(path: Path) -> bytes:
        if path.suffix == ".jsonl":
            box.record(activity())
        return read(path)

    monkeypatch.setattr(Path, "read_bytes", late)
    before = verify(folder)
    assert (before.number, verify(folder, before).number) == (5, 6)


def test_a_disk_that_fails_stops_nothing_and_is_said(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    trail = Trail(Audit(folder, "MRIBOX"), "MRIBOX")
    with monkeypatch.context() as patch:
        patch.setattr("os.fsync", Raising())
        trail.activity(started=True)
    assert trail.trouble == "the audit trail cannot be written: OSError"
    assert verify(folder).number == 5
    trail.activity(started=True)
    assert (trail.trouble, verify(folder).number) == (None, 6)


def test_a_head_that_cannot_be_written_takes_its_line_back(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    trail = Trail(Audit(folder, "MRIBOX"), "MRIBOX")
    with monkeypatch.context() as patch:
        patch.setattr(Path, "replace", Raising())
        trail.activity(started=True)
    assert trail.trouble
    assert verify(folder).number == 5
    trail.activity(started=True)
    assert (trail.trouble, verify(folder).number) == (None, 6)


def test_a_disk_that_fills_in_the_midst_of_a_line_leaves_none_of_it(folder: Path) -> None:
    trail = Trail(Audit(folder, "MRIBOX"), "MRIBOX")
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (file(folder).stat().st_size + 10, hard))
    try:
        trail.activity(started=True)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert trail.trouble
    trail.activity(started=True)
    assert (trail.trouble, verify(folder).number) == (None, 6)


class Raising:
    def __call__(self, *_: Any) -> None:
        raise OSError(28, "No space left on device")


def test_a_message_is_as_the_schema_of_the_standard_has_it() -> None:
    """PS3.15, A.5.1: order of elements, and what must be there."""
    subject = Subject("1.2.3", "P\x001", "Doe^Jane\x1b$B", {"1.2.840.10008.5.1.4.1.1.4": 8})
    sender = Actor("association", "SCANNER", "10.1.2.3")
    event = Event(told.TRANSFERRED, "C", [(sender, told.SOURCE), (BOX, told.DESTINATION)], subject=subject)
    root = ET.fromstring(told.xml(event, "MRIBOX"))
    names = [child.tag for child in root]
    objects = ["ParticipantObjectIdentification"] * 2
    assert names == [
        "EventIdentification",
        "ActiveParticipant",
        "ActiveParticipant",
        "AuditSourceIdentification",
        *objects,
    ]
    for code in (each for each in root.iter() if "csd-code" in each.attrib and each.tag != "AuditSourceTypeCode"):
        assert set(code.attrib) == {"csd-code", "codeSystemName", "originalText"}
    assert {each.get("UserIsRequestor") for each in root.iter("ActiveParticipant")} == {"true", "false"}
    study, patient = root.iter("ParticipantObjectIdentification")
    assert [child.tag for child in study] == [
        "ParticipantObjectIDTypeCode",
        "ParticipantObjectName",
        "ParticipantObjectDescription",
    ]
    assert study.get("ParticipantObjectID") == "1.2.3"
    (counted,) = study.iter("SOPClass")
    assert counted.attrib == {"UID": "1.2.840.10008.5.1.4.1.1.4", "NumberOfInstances": "8"}
    assert patient.get("ParticipantObjectID") == "P\ufffd1"
    assert root[0].attrib["EventOutcomeIndicator"] == "0"


@pytest.mark.acceptance
def test_what_came_and_who_was_turned_away_stand_in_it(
    receiver: Callable[..., Receiver], folder: Path, tmp_path: Path
) -> None:
    box = receiver(watch=Watch(Trail(Audit(folder, "MRIBOX"), "MRIBOX")))
    box.send(instance(1), instance(2), instance(1, study=2))
    assert not associate(box.port, calling="STRANGER").is_established
    assert not associate(box.port, calling="STRANGER").is_established
    assert within(30, lambda: len(list(messages(folder))) >= 10)
    found = [ET.fromstring(message) for message in messages(folder)][5:]
    kinds = [each.find("EventIdentification/EventID").get("csd-code") for each in found]  # type: ignore[union-attr]
    assert sorted(kinds) == ["110102", "110102", "110104", "110104", "110113"]
    (first, second) = (each for each, kind in zip(found, kinds, strict=True) if kind == "110104")
    counts = {each.get("ParticipantObjectID"): each for each in first.iter("ParticipantObjectIdentification")}
    assert counts["1.2.3.1"].find("ParticipantObjectDescription/SOPClass").get("NumberOfInstances") == "2"  # type: ignore[union-attr]
    assert counts["P1"].findtext("ParticipantObjectName") == "Doe^Jane"
    assert {each.get("UserID") for each in second.iter("ActiveParticipant")} == {"SCANNER", "MRIBOX"}
    alert = found[kinds.index("110113")]
    assert alert[0].attrib["EventOutcomeIndicator"] == "8"
    assert "STRANGER" in {each.get("UserID") for each in alert.iter("ActiveParticipant")}
    assert json.loads((folder / "head.json").read_text())["number"] == verify(folder).number


@pytest.mark.acceptance
def test_a_sender_that_hangs_up_before_its_answer_leaves_a_whole_record(
    receiver: Callable[..., Receiver], folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    trail = Trail(Audit(folder, "MRIBOX"), "MRIBOX")
    box = receiver(watch=Watch(trail))
    keeping, over = threading.Event(), threading.Event()
    keep, ended = box.incoming.keep, trail.ended

    def kept_late(*arguments: Any) -> Any:
        keeping.set()
        assert over.wait(60)
        return keep(*arguments)

    def told(transfer: Any) -> None:
        ended(transfer)
        over.set()

    monkeypatch.setattr(box.incoming, "keep", kept_late)
    monkeypatch.setattr(trail, "ended", told)
    association = associate(box.port)
    sending = threading.Thread(target=association.send_c_store, args=(instance(),))
    sending.start()
    assert keeping.wait(60)
    association.abort()
    sending.join()
    assert within(60, lambda: len(list(messages(folder))) == 7)
    assert [TRANSFERRED in message for message in messages(folder)][5:] == [False, True]
    assert not trail._transfers
