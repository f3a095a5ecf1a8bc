"""A study goes in; report and summary are in archives: by C-STORE and committed, by STOW-RS, and in DCMTK's."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pydicom
import pytest

from deploy.box.delivery import Delivery
from deploy.box.journal import Journal
from deploy.box.outbox import Outbox
from deploy.box.report import NOTICE
from tests.deploy.box.orthanc import Orthanc, orthanc
from tests.deploy.box.served import command, destination, serving, write_settings
from tests.deploy.box.test_service import send
from tests.deploy.box.test_summary import checked
from tests.inference.conftest import Maker, SeriesWriter
from tests.ports import free_port, listens
from tests.programs import program
from tests.waiting import within

pytestmark = pytest.mark.acceptance


@contextmanager
def storescp(folder: Path) -> Iterator[int]:
    """DCMTK's archive: a file for each object."""
    folder.mkdir()
    port = free_port()
    server = subprocess.Popen([program("storescp"), "-aet", "STORESCP", "-od", str(folder), str(port)])
    try:
        assert within(60, lambda: listens(port))
        yield port
    finally:
        server.kill()
        server.wait()


def destinations(pacs: Orthanc, dcmtk: int) -> str:
    return f"""
        [[send]]
        name = "pacs"
        dicom = {{ ae_title = "ORTHANC", address = "localhost", port = {pacs.dicom}, commitment = true }}
        [[send]]
        name = "web"
        what = ["sr"]
        stow = {{ url = "{pacs.url}" }}
        {destination("dcmtk", "STORESCP", dcmtk)}
    """


def deliveries(state: Path) -> list[Delivery]:
    journal = Journal(state / "journal.sqlite")
    try:
        return Outbox(journal, state / "results").deliveries()
    finally:
        journal.close()


def arrived(state: Path, wanted: dict[str, str]) -> bool:
    found = deliveries(state)
    return len(found) == 5 and all(each.state == wanted[each.destination] for each in found)


def test_a_study_ends_as_results_in_the_archives(
    root: Path, make_release: Maker, write_series: SeriesWriter, tmp_path: Path
) -> None:
    write_series(tmp_path / "study", 1, SeriesNumber=3)
    state, port = tmp_path / "state", free_port()
    with orthanc(tmp_path / "orthanc", port) as pacs, storescp(tmp_path / "dcmtk") as dcmtk:
        release, more = make_release(tmp_path / "release"), destinations(pacs, dcmtk)
        path = write_settings(tmp_path, release, senders=("SCANNER", "ORTHANC"), port=port, more=more)
        with serving(root, path):
            send(path, tmp_path / "study")
            wanted = {"pacs": "committed", "web": "sent", "dcmtk": "sent"}
            assert within(200, lambda: arrived(state, wanted)), [
                (each.destination, each.state, each.reason) for each in deliveries(state)
            ]
        found = {each["00080060"]["Value"][0]: each for each in json.loads(pacs.read("/dicom-web/series"))}
        assert set(found) == {"SR", "OT"}
        assert len(pacs.stored()) == 2
    require_as_made(root, path, tmp_path)


def require_as_made(root: Path, settings: Path, tmp_path: Path) -> None:
    """The objects that DCMTK stored are readable, valid, and of the study that was sent."""
    stored = sorted((tmp_path / "dcmtk").iterdir())
    source = sorted((tmp_path / "study").iterdir())
    assert len(stored) == 2
    for path in stored:
        assert checked("dciodvfy", path) == []
        read = pydicom.dcmread(path)
        assert (read.SeriesDescription, read.PatientName) == (NOTICE, "Doe^Jane")
        assert read.StudyInstanceUID == pydicom.dcmread(source[0]).StudyInstanceUID
    assert checked("dcentvfy", *stored, *source) == []
    report = next(path for path in stored if pydicom.dcmread(path).Modality == "SR")
    shown = subprocess.run([program("dsrdump"), str(report)], capture_output=True, text=True, check=True).stdout
    assert "Probability" in shown
    listed = subprocess.run(command("outbox", settings), cwd=root, capture_output=True, text=True, check=True).stderr
    assert listed.count("committed") == 2
    log = settings.with_name("box.log").read_text()
    assert "Doe" not in log
    assert str(pydicom.dcmread(source[0]).StudyInstanceUID) not in log
