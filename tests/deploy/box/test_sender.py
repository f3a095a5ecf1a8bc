"""Archives that are down, refuse, are full, drop the connection or say nothing: nothing is lost, states are right."""

from __future__ import annotations

import socket
import sqlite3
import ssl
import threading
from collections.abc import Callable
from datetime import datetime, timedelta
from pathlib import Path

import pytest

from deploy.box.delivery import Delivery
from deploy.box.destinations import Destination
from deploy.box.fields import Tls
from deploy.box.journal import Instance, Journal
from deploy.box.outbox import Outbox
from deploy.box.peer import Peer
from deploy.box.sender import Sending
from deploy.box.store_scu import StoreScu
from tests.deploy.box.archive import archive, listening
from tests.deploy.box.results import destination, result
from tests.deploy.box.test_tls import certificate
from tests.waiting import within

TRIES = 3


@pytest.fixture
def journal(tmp_path: Path) -> Journal:
    return Journal(tmp_path / "journal.sqlite")


def filled(journal: Journal, where: Destination, studies: int = 1, size: int = 8) -> Outbox:
    """With a report and a summary of each study."""
    (_, _, file) = journal._database.execute("PRAGMA database_list").fetchone()
    outbox = Outbox(journal, Path(file).with_name("results"), [where])
    for number in range(1, studies + 1):
        journal.add(Instance(f"{number}", f"{number}", "s", "c", "ab", 1, f"{number}", "A", "2026"))
        journal.complete("2027", "2027")
        contents = {"sr": result(number, "sr", size), "sc": result(number, "sc", size)}
        (study,) = journal.studies("complete")
        assert outbox.enter(study, contents, True)
    return outbox


def sending(outbox: Outbox, where: Destination) -> Sending:
    assert where.dicom is not None
    return Sending(outbox, where, StoreScu(Peer(where.dicom, "MRIBOX"), outbox.folder))


def until_settled(outbox: Outbox, where: Destination) -> list[Delivery]:
    """Rounds until nothing is queued."""
    at_work = sending(outbox, where)
    assert within(120, lambda: at_work.round() == 0 and not outbox.counts()["queued"])
    return outbox.deliveries()


def uids(outbox: Outbox) -> list[str]:
    return sorted(each.sop_instance_uid for each in outbox.deliveries())


def test_success_is_sent_and_once(journal: Journal) -> None:
    with archive() as pacs:
        outbox = filled(journal, where := destination(port=pacs.port, timeout_s=60.0), studies=3, size=600)
        found = until_settled(outbox, where)
        assert {(each.state, each.tries, each.last_status) for each in found} == {("sent", 1, 0)}
        assert sending(outbox, where).round() == 0
    assert sorted(uid for uid, _ in pacs.stored) == uids(outbox)


@pytest.mark.parametrize(("status", "words"), [(0xA700, "out of resources"), (0xC000, "cannot understand")])
def test_a_failure_is_tried_again_then_dead_then_replayed(journal: Journal, status: int, words: str) -> None:
    with archive(lambda _: status) as pacs:
        outbox = filled(journal, where := destination(port=pacs.port))
        found = until_settled(outbox, where)
        assert {(each.state, each.tries, each.last_status) for each in found} == {("dead", TRIES, status)}
        assert words in found[0].reason
        assert not pacs.stored
        pacs.answer = lambda _: 0
        assert outbox.replay() == 2
        assert {each.state for each in until_settled(outbox, where)} == {"sent"}
        assert sorted(uid for uid, _ in pacs.stored) == uids(outbox)


def test_full_for_a_while(journal: Journal) -> None:
    with archive(lambda number: 0xA700 if number < 3 else 0) as pacs:
        outbox = filled(journal, where := destination(port=pacs.port), studies=2)
        assert {each.state for each in until_settled(outbox, where)} == {"sent"}
    assert sorted(uid for uid, _ in pacs.stored) == uids(outbox)


def test_a_study_that_changes_while_it_is_sent_goes_no_further(journal: Journal) -> None:
    outbox: Outbox

    def answer(_: int) -> int:
        journal.add(Instance("1.2", "1", "s", "c", "ab", 1, "1.2", "A", "2026"))
        journal.complete("2027", "2027")
        (study,) = journal.studies("complete")
        assert outbox.enter(study, {"sr": result(9, "sr")}, True)
        return 0

    with archive(answer) as pacs:
        outbox = filled(journal, where := destination(port=pacs.port))
        assert sending(outbox, where).round() == 1
        # What is there already is said to be.
        assert [each.state for each in outbox.deliveries()] == ["sent", "superseded", "queued"]
        assert len(pacs.stored) == 1


def test_a_warning_is_neither_sent_nor_sent_again(journal: Journal) -> None:
    with archive(lambda _: 0xB000) as pacs:
        outbox = filled(journal, where := destination(port=pacs.port))
        found = until_settled(outbox, where)
        assert {(each.state, each.last_status) for each in found} == {("warned", 0xB000)}
        assert "coercion" in found[0].reason
        assert len(pacs.stored) == 2


def test_one_that_drops_the_connection_in_the_midst_of_it(journal: Journal) -> None:
    with archive(lambda number: None if number in (1, 2) else 0) as pacs:
        outbox = filled(journal, where := destination(port=pacs.port), studies=2)
        found = until_settled(outbox, where)
        assert {each.state for each in found} == {"sent"}
        assert sum(each.tries for each in found) == 6
    assert sorted(uid for uid, _ in pacs.stored) == uids(outbox)


def test_one_that_is_down_and_comes_back(journal: Journal) -> None:
    with archive() as pacs:
        where = destination(port=pacs.port)
    outbox = filled(journal, where)
    found = until_settled(outbox, where)
    assert {(each.state, each.last_status, each.reason) for each in found} == {("dead", None, "no connection")}
    with archive(port=where.dicom.port if where.dicom else 0) as pacs:
        outbox.replay()
        assert {each.state for each in until_settled(outbox, where)} == {"sent"}


def test_one_that_rejects_the_association(journal: Journal, caplog: pytest.LogCaptureFixture) -> None:
    with archive(title="OTHER") as pacs:
        outbox = filled(journal, where := destination(port=pacs.port))
        found = until_settled(outbox, where)
    assert {each.state for each in found} == {"dead"}
    rejected = "it rejected the association: called ae title not recognised"
    assert f"failed, the next try is in 0 s: {rejected}" in caplog.text
    # Of the last try: on a busy machine the connection may be gone before its answer is read.
    assert {each.reason for each in found} <= {rejected, "it did not answer the association request, or aborted it"}


def _says_nothing(line: socket.socket) -> None:
    while line.recv(65_536):
        pass


def _hangs_up(line: socket.socket) -> None:
    line.recv(6)


def _reads_no_more(line: socket.socket) -> None:
    raise TimeoutError


@pytest.mark.parametrize("talk", [_says_nothing, _hangs_up, _reads_no_more])
def test_one_that_does_not_speak_dicom(journal: Journal, talk: Callable[[socket.socket], None]) -> None:
    with listening(talk) as port:
        where = destination(port=port, retry={"first_s": 0.01, "tries": 1})
        dicom = where.dicom.model_copy(update={"timeout_s": 1.0}) if where.dicom else None
        where = where.model_copy(update={"dicom": dicom})
        found = until_settled(filled(journal, where), where)
    assert {(each.state, each.last_status) for each in found} == {("dead", None)}
    assert "did not answer" in found[0].reason


def test_one_that_hears_an_instance_and_says_nothing_more(journal: Journal) -> None:
    hold = threading.Event()

    def wait(number: int) -> int:
        hold.wait(60)
        return 0

    with archive(wait) as pacs:
        where = destination(port=pacs.port, retry={"first_s": 0.01, "tries": 1})
        dicom = where.dicom.model_copy(update={"timeout_s": 1.0}) if where.dicom else None
        where = where.model_copy(update={"dicom": dicom})
        outbox = filled(journal, where)
        at_work = sending(outbox, where)
        assert at_work.round() == 1
        hold.set()
    assert outbox.counts()["dead"] == 1
    assert outbox.counts()["queued"] == 1


def test_a_damaged_file_is_dead_at_once_and_stops_no_other(journal: Journal) -> None:
    with archive() as pacs:
        outbox = filled(journal, where := destination(port=pacs.port))
        (outbox.folder / outbox.deliveries()[0].file).write_bytes(b"torn")
        first, second = until_settled(outbox, where)
        assert (first.state, second.state) == ("dead", "sent")
        assert "studies --again 1" in first.reason


def test_what_waits_for_a_destination_that_is_gone_is_dead(journal: Journal) -> None:
    outbox = filled(journal, destination("old"))
    assert Outbox(journal, outbox.folder, [destination("new")]).abandon() == 2
    assert "no destination" in outbox.deliveries()[0].reason


def test_waits_double_and_end(journal: Journal) -> None:
    with archive() as pacs:
        where = destination(port=pacs.port, retry={"first_s": 10, "longest_s": 35, "tries": 100, "hours": 0.05})
    outbox = filled(journal, where)
    at_work, waits = sending(outbox, where), list[float]()
    start = time = datetime.fromisoformat(outbox.deliveries()[0].queued)
    at_work._now, at_work._chance = lambda: time, lambda: 0.5
    while at_work.round():
        (first, _) = outbox.deliveries()
        waits.append((datetime.fromisoformat(first.next_try) - time).total_seconds())
        time += timedelta(seconds=waits[-1])
    assert waits[:4] == pytest.approx([7.5, 15.0, 26.25, 26.25], abs=0.01)
    assert 180 <= (time - start).total_seconds() < 210
    assert outbox.counts()["dead"] == 2


@pytest.fixture
def keys(tmp_path: Path) -> Path:
    for name, authority in (("hospital", None), ("box", "hospital"), ("pacs", "hospital"), ("elsewhere", None)):
        certificate(tmp_path, name, authority)
    return tmp_path


@pytest.mark.parametrize(("authority", "state"), [("hospital", "sent"), ("elsewhere", "dead")])
def test_over_tls_to_whom_the_hospital_vouches_for(journal: Journal, keys: Path, authority: str, state: str) -> None:
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH, cafile=keys / "hospital.pem")
    context.load_cert_chain(keys / "pacs.pem", keys / "pacs.key")
    context.verify_mode = ssl.CERT_REQUIRED
    with archive(tls=context) as pacs:
        where = destination(port=pacs.port)
        tls = Tls(certificate=keys / "box.pem", key=keys / "box.key", authorities=keys / f"{authority}.pem")
        dicom = where.dicom.model_copy(update={"tls": tls}) if where.dicom else None
        where = where.model_copy(update={"dicom": dicom})
        outbox = filled(journal, where, size=300)
        assert {each.state for each in until_settled(outbox, where)} == {state}


def test_the_thread_ends_when_asked_and_outlives_a_disk_that_fails(
    journal: Journal, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("deploy.box.sender.MACHINE_S", 0.01)
    with archive() as pacs:
        outbox = filled(journal, where := destination(port=pacs.port))
        at_work, real, stop = sending(outbox, where), outbox.due, threading.Event()
        failures = iter([sqlite3.OperationalError("disk I/O error"), OSError(5, "Input/output error")])

        def due(*arguments: str) -> list[Delivery]:
            for error in failures:
                raise error
            return real(*arguments)

        monkeypatch.setattr(outbox, "due", due)
        thread = threading.Thread(target=at_work.run, args=(stop, 0.01))
        thread.start()
        assert within(60, lambda: outbox.counts()["sent"] == 2)
        stop.set()
        thread.join(60)
        assert not thread.is_alive()
