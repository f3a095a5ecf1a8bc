"""Results in a real archive: there, once, and as they were made."""

from __future__ import annotations

from pathlib import Path

import pytest

from deploy.box.destinations import Destination
from deploy.box.journal import Journal
from tests.deploy.box.archive import relay
from tests.deploy.box.orthanc import Orthanc, orthanc
from tests.deploy.box.results import destination
from tests.deploy.box.test_sender import filled, uids, until_settled

pytestmark = pytest.mark.acceptance


@pytest.fixture(scope="module")
def pacs(tmp_path_factory: pytest.TempPathFactory) -> object:
    with orthanc(tmp_path_factory.mktemp("pacs") / "orthanc") as here:
        yield here


@pytest.fixture
def journal(tmp_path: Path) -> Journal:
    return Journal(tmp_path / "journal.sqlite")


def to(port: int) -> Destination:
    dicom = {"ae_title": "ORTHANC", "address": "127.0.0.1", "port": port, "timeout_s": 5.0}
    return destination(dicom=dicom, retry={"first_s": 0.01, "longest_s": 0.05, "tries": 20})


def test_what_is_sent_is_there(pacs: Orthanc, journal: Journal) -> None:
    outbox = filled(journal, where := to(pacs.dicom), studies=2)
    assert {each.state for each in until_settled(outbox, where)} == {"sent"}
    assert set(uids(outbox)) <= set(pacs.stored())


@pytest.mark.parametrize("ends", ["drop", "stop"])
def test_a_line_that_breaks_in_mid_transfer(pacs: Orthanc, journal: Journal, ends: str) -> None:
    """The first three connections break, or fall silent, after so many bytes of an object of 720 kB."""
    with relay(pacs.dicom, ends, [400, 30_000, 500_000]) as port:
        where = to(port)
        dicom = where.dicom.model_copy(update={"timeout_s": 2.0}) if where.dicom else None
        where = where.model_copy(update={"dicom": dicom})
        outbox = filled(journal, where, size=600)
        before = len(pacs.stored())
        assert {each.state for each in until_settled(outbox, where)} == {"sent"}
        assert sum(each.tries for each in outbox.deliveries()) > 2
    # Those of the test before have the same UIDs.
    assert set(uids(outbox)) <= set(pacs.stored())
    assert len(pacs.stored()) == max(before, 2)
