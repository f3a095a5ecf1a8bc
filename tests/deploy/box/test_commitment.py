"""Storage commitment: the report in the same association, in one of its own, of refusal, or never."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest
from pydicom.dataset import Dataset
from pynetdicom import AE, evt
from pynetdicom.sop_class import StorageCommitmentPushModel, StorageCommitmentPushModelInstance

from deploy.box import scp
from deploy.box.commitment import CommitmentScu, heard
from deploy.box.destinations import Destination
from deploy.box.incoming import Incoming
from deploy.box.journal import Journal
from deploy.box.outbox import Outbox
from deploy.box.peer import Peer
from deploy.box.quarantine import Quarantine
from deploy.box.sender import Sending
from deploy.box.store_scu import StoreScu
from tests.deploy.box.archive import CLASSES
from tests.deploy.box.conftest import settings
from tests.deploy.box.orthanc import orthanc
from tests.deploy.box.results import destination
from tests.deploy.box.test_sender import filled
from tests.ports import free_port
from tests.waiting import within


@pytest.fixture
def journal(tmp_path: Path) -> Journal:
    return Journal(tmp_path / "journal.sqlite")


def to(port: int, title: str = "PACS", **changes: object) -> Destination:
    dicom = {"ae_title": title, "address": "127.0.0.1", "port": port, "timeout_s": 5.0, "commitment": True} | changes
    return destination(dicom=dicom, retry={"first_s": 0.01, "longest_s": 0.05, "tries": 2})


def sending(outbox: Outbox, where: Destination) -> Sending:
    assert where.dicom is not None
    peer = Peer(where.dicom, "MRIBOX")
    return Sending(outbox, where, StoreScu(peer, outbox.folder), CommitmentScu(peer, outbox))


class Keeper:
    """Takes everything, and answers requests of commitment as it is told; the report comes in the same association."""

    def __init__(self, failed: int | None = None, status: int = 0, silent: bool = False) -> None:
        self.failed, self.status, self.silent = failed, status, silent
        self.port, self.stored, self.reports = 0, 0, list[threading.Thread]()

    def store(self, event: evt.Event) -> int:
        self.stored += 1
        return 0

    def act(self, event: evt.Event) -> tuple[int, None]:
        if self.status == 0 and not self.silent:
            thread = threading.Thread(target=self.report, args=(event.assoc, event.action_information))
            self.reports.append(thread)
            thread.start()
        return self.status, None

    def report(self, association: object, asked: Dataset) -> None:
        told = Dataset()
        told.TransactionUID = asked.TransactionUID
        if self.failed is None:
            told.ReferencedSOPSequence = asked.ReferencedSOPSequence
        else:
            told.FailedSOPSequence = asked.ReferencedSOPSequence
            for item in told.FailedSOPSequence:
                item.FailureReason = self.failed
        kind = 1 if self.failed is None else 2
        instance = StorageCommitmentPushModelInstance
        association.send_n_event_report(told, kind, StorageCommitmentPushModel, instance)  # type: ignore[attr-defined]


@contextmanager
def keeping(keeper: Keeper, commits: bool = True) -> Iterator[Keeper]:
    entity = AE("PACS")
    for each in [*CLASSES, *([StorageCommitmentPushModel] if commits else [])]:
        entity.add_supported_context(each)
    handlers = [(evt.EVT_C_STORE, keeper.store), (evt.EVT_N_ACTION, keeper.act)]
    server = entity.start_server(("127.0.0.1", 0), block=False, evt_handlers=handlers)
    assert server is not None
    keeper.port = server.server_address[1]
    try:
        yield keeper
    finally:
        for thread in keeper.reports:
            thread.join()
        server.shutdown()


def test_what_is_kept_is_committed(journal: Journal) -> None:
    with keeping(Keeper()) as pacs:
        outbox = filled(journal, where := to(pacs.port))
        assert sending(outbox, where).round() == 2
        assert within(60, lambda: outbox.counts()["committed"] == 2)
        assert sending(outbox, where).round() == 0
    assert pacs.stored == 2


@pytest.mark.parametrize(
    ("keeper", "reason"),
    [(Keeper(failed=0x0112), "it will not keep it: 0x0112"), (Keeper(status=0x0110), "refused the request")],
)
def test_what_is_not_kept_is_sent_again_and_then_dead(journal: Journal, keeper: Keeper, reason: str) -> None:
    with keeping(keeper) as pacs:
        outbox = filled(journal, where := to(pacs.port))
        at_work = sending(outbox, where)
        assert within(120, lambda: at_work.round() == 0 and outbox.counts()["dead"] == 2)
        assert reason in outbox.deliveries()[0].reason
    assert pacs.stored == 4


def test_one_that_offers_none(journal: Journal) -> None:
    with keeping(Keeper(), commits=False) as pacs:
        outbox = filled(journal, where := to(pacs.port))
        at_work = sending(outbox, where)
        assert within(120, lambda: at_work.round() == 0 and outbox.counts()["dead"] == 2)
    assert "takes no objects of these classes" in outbox.deliveries()[0].reason


def test_one_that_never_reports(journal: Journal, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("deploy.box.commitment._SAME_ASSOCIATION_S", 0.1)
    with keeping(Keeper(silent=True)) as pacs:
        outbox = filled(journal, where := to(pacs.port, commitment_s=0.2))
        at_work = sending(outbox, where)
        assert within(120, lambda: at_work.round() == 0 and outbox.counts()["dead"] == 2)
    assert outbox.deliveries()[0].reason == "no report of storage commitment came in time"
    assert pacs.stored == 4


def test_a_report_of_an_unknown_transaction_changes_nothing(journal: Journal) -> None:
    outbox = filled(journal, destination())
    for each in outbox.deliveries():
        outbox.move(each, "sent", transaction_uid="2.25.1")
    (first, second) = outbox.deliveries()
    assert outbox.commit("2.25.2", [first.sop_instance_uid], {}) == 0
    assert outbox.commit("", [first.sop_instance_uid], {}) == 0
    assert outbox.commit("2.25.1", [first.sop_instance_uid, "1.2.3"], {second.sop_instance_uid: 0x0213}) == 1
    assert [(each.state, each.reason) for each in outbox.deliveries()] == [
        ("committed", ""),
        ("sent", "it will not keep it: 0x0213"),
    ]


@pytest.mark.acceptance
def test_orthanc_reports_in_an_association_of_its_own(journal: Journal, tmp_path: Path) -> None:
    senders = [{"ae_title": "ORTHANC", "networks": ["127.0.0.1/32"]}]
    # Orthanc lets its own associations go after 5 s: ending one at that very moment is a race within pynetdicom.
    wanted = settings(port=free_port(), senders=senders, idle_s=30.0)
    with ExitStack() as stack:
        pacs = stack.enter_context(orthanc(tmp_path / "orthanc", wanted.port))
        where = to(pacs.dicom, "ORTHANC")
        outbox = filled(journal, where)
        incoming = Incoming(tmp_path / "incoming", journal, 2**20)
        reports = [(evt.EVT_N_EVENT_REPORT, heard, [outbox])]
        quarantine = Quarantine(tmp_path / "quarantine", 2**20)
        stack.enter_context(scp.listening(wanted, incoming, quarantine, reports))
        assert sending(outbox, where).round() == 2
        assert within(120, lambda: outbox.counts()["committed"] == 2)
