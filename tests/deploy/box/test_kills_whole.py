"""`kill -9` of the whole box while studies come, are answered and are sent: nothing is lost, nothing is there twice.

Whole: `python -m pytest tests/deploy/box/test_kills_whole.py --timeout 36000` with MRI_BOX_KILLS=200; the suite has a
short form.
"""

from __future__ import annotations

import hashlib
import random
import threading
from collections.abc import Iterator
from itertools import count
from pathlib import Path

import pydicom
import pytest
from pydicom.dataset import Dataset

from deploy.box.journal import Journal
from deploy.box.outbox import Outbox
from tests.deploy.box.archive import Archive, archive
from tests.deploy.box.conftest import associate
from tests.deploy.box.served import destination, port_of, serving, write_settings
from tests.deploy.box.test_kills import KILLS
from tests.inference.conftest import Maker, SeriesWriter
from tests.ports import listens
from tests.waiting import within

pytestmark = pytest.mark.acceptance

#: Until a kill, at most: by then it receives, answers and sends.
LONGEST_S = 20.0 if KILLS > 4 else 8.0


class Scanner(threading.Thread):
    """Sends study after study; what is not acknowledged comes again, as from any archive."""

    def __init__(self, port: int, folder: Path, write_series: SeriesWriter) -> None:
        super().__init__()
        self.port, self.folder, self.write = port, folder, write_series
        self.stop, self.give_up = threading.Event(), threading.Event()
        self.acknowledged, self.studies = list[str](), 0

    def run(self) -> None:
        for number in count(1):
            self.write(self.folder / f"{number}", number, slices=5)
            left = [pydicom.dcmread(path) for path in sorted((self.folder / f"{number}").iterdir())]
            # A study that was begun is sent whole.
            while left := self.send(left):
                if self.give_up.wait(0.2):
                    return
            self.studies = number
            if self.stop.wait(0.5):
                return

    def send(self, images: list[Dataset]) -> list[Dataset]:
        """Those that were not acknowledged."""
        if not listens(self.port):
            return images
        association = associate(self.port)
        left = list(images)
        while left and association.is_established:
            if association.send_c_store(left[0]).get("Status") != 0:
                break
            self.acknowledged.append(str(left.pop(0).SOPInstanceUID))
        association.release() if association.is_established else association.abort()
        return left


@pytest.fixture
def pacs() -> Iterator[Archive]:
    with archive() as made:
        yield made


@pytest.fixture
def settings(make_release: Maker, tmp_path: Path, pacs: Archive) -> Path:
    pacs_section = destination("pacs", "PACS", pacs.port, "retry = { first_s = 0.5, longest_s = 2 }")
    return write_settings(tmp_path, make_release(tmp_path / "release"), quiet_s=1.0, more=pacs_section)


def test_nothing_is_lost_and_nothing_is_there_twice(
    root: Path, settings: Path, pacs: Archive, write_series: SeriesWriter, tmp_path: Path
) -> None:
    chance, port = random.Random(9), port_of(settings)
    scanner = Scanner(port, tmp_path / "studies", write_series)
    scanner.start()
    try:
        for _ in range(KILLS):
            with serving(root, settings):  # which ends by a kill
                assert within(120, lambda: listens(port))
                scanner.stop.wait(chance.uniform(0.0, LONGEST_S))
        with serving(root, settings):
            assert within(60 * 60, lambda: scanner.studies > 3)
            scanner.stop.set()
            scanner.join(300)
            assert not scanner.is_alive()
            assert within(60 * 60, lambda: settled(tmp_path / "state", scanner.studies), every_s=1.0)
    finally:
        scanner.stop.set()
        scanner.give_up.set()
        scanner.join()
    require_all(tmp_path / "state", scanner, pacs)


def settled(state: Path, studies: int) -> bool:
    """Whether each study is answered, and each result sent."""
    journal = Journal(state / "journal.sqlite")
    try:
        found = [study.state for study in journal.studies()]
        counts = Outbox(journal, state / "results").counts()
    finally:
        journal.close()
    return found == ["answered"] * studies and not counts["queued"]


def require_all(state: Path, scanner: Scanner, pacs: Archive) -> None:
    """What was acknowledged is there, whole; the archive has what the box says, and no other, always the same."""
    journal = Journal(state / "journal.sqlite")
    outbox = Outbox(journal, state / "results")
    rows = {row.sop_instance_uid: row for row in journal.instances()}
    assert set(scanner.acknowledged) <= set(rows)
    for row in rows.values():
        assert hashlib.sha256((state / "incoming" / row.file).read_bytes()).hexdigest() == row.sha256
    stored = dict(pacs.stored)
    assert all(stored[uid] == content for uid, content in pacs.stored)
    deliveries = outbox.deliveries()
    assert {each.state for each in deliveries} <= {"sent", "superseded"}
    assert {each.sop_instance_uid for each in deliveries if each.state == "sent"} <= set(stored)
    assert set(stored) <= {each.sop_instance_uid for each in deliveries}
    for study in journal.studies():
        assert [each.kind for each in outbox.results(study.study)] == ["sr", "sc"]
        assert {each.sop_instance_uid for each in outbox.results(study.study)} <= set(stored)
        mine = {each.sop_instance_uid for each in deliveries if each.study == study.study}
        assert len(mine) <= 2 * study.revision
    journal.close()
    again = len(pacs.stored) - len(stored)
    print(f"{KILLS} kills, {len(scanner.acknowledged)} acknowledged, {len(stored)} results, {again} sent twice")
