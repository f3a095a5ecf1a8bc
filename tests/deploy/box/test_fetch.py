"""Studies of a real archive: found, moved to the box's own door, and got into a folder."""

from __future__ import annotations

import getpass
from base64 import b64decode
from collections.abc import Callable, Iterator
from io import BytesIO
from pathlib import Path
from xml.etree import ElementTree as ET

import pydicom
import pytest
from pydicom.dataset import Dataset
from pynetdicom import AE
from pynetdicom.dsutils import decode

from deploy.box import __main__ as command
from deploy.box import fetch
from deploy.box.audit import messages
from deploy.box.destinations import Dicom
from deploy.box.peer import Peer
from pipeline.errors import DicomError
from tests.deploy.box import dcmqrscp
from tests.deploy.box.conftest import Receiver, instance
from tests.deploy.box.orthanc import Orthanc, orthanc
from tests.ports import free_port

pytestmark = pytest.mark.acceptance


@pytest.fixture
def box_port() -> int:
    return free_port()


@pytest.fixture
def archive(tmp_path: Path, box_port: int) -> Iterator[Orthanc]:
    with orthanc(tmp_path / "orthanc", box_port) as here:
        fill(here.dicom, "ORTHANC")
        yield here


def fill(port: int, title: str) -> None:
    """An archive, with two studies, of three and one instances."""
    entity = AE("SCANNER")
    entity.add_requested_context(instance().SOPClassUID)
    association = entity.associate("127.0.0.1", port, ae_title=title)
    for study, number in ((1, 1), (1, 2), (1, 3), (2, 1)):
        sent = instance(number, study, StudyDate=f"2026010{study}", PatientID=f"P{study}")
        assert association.send_c_store(sent).Status == 0
    association.release()


def peer(here: Orthanc) -> Peer:
    return Peer(Dicom(ae_title="ORTHANC", address="127.0.0.1", port=here.dicom, timeout_s=20.0), "MRIBOX")


def test_studies_are_found_by_what_they_are(archive: Orthanc) -> None:
    (one,) = fetch.found(peer(archive), {"StudyDate": "20260101-20260101"}, [].append)
    assert (one.StudyInstanceUID, int(one.NumberOfStudyRelatedInstances)) == ("1.2.3.1", 3)
    assert [str(each.StudyInstanceUID) for each in fetch.found(peer(archive), {}, [].append)] == ["1.2.3.1", "1.2.3.2"]
    assert fetch.found(peer(archive), {"PatientID": "nobody"}, [].append) == []
    with pytest.raises(DicomError, match="keywords of DICOM"):
        fetch.found(peer(archive), {"StudyDay": "1"}, [].append)


def test_moved_studies_come_in_by_the_front_door(
    archive: Orthanc, box_port: int, receiver: Callable[..., Receiver]
) -> None:
    box = receiver(port=box_port, senders=[{"ae_title": "ORTHANC", "networks": ["127.0.0.1/32"]}])
    whole, none = fetch.moved(peer(archive), ["1.2.3.1", "1.2.3.9"], "MRIBOX", [].append)
    assert (whole.completed, whole.reason) == (3, "")
    assert none.reason
    assert [each.study_instance_uid for each in box.journal.instances()] == ["1.2.3.1"] * 3


def test_the_command_has_dcmtks_archive_move_a_study(
    receiver: Callable[..., Receiver], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    box = receiver(senders=[{"ae_title": dcmqrscp.TITLE, "networks": ["127.0.0.1/32"]}])
    with dcmqrscp.dcmqrscp(tmp_path / "archive", box.port) as port:
        fill(port, dcmqrscp.TITLE)
        asked = ["fetch", str(write_settings(tmp_path, dcmqrscp.TITLE, port)), "pacs", "--study"]
        assert command.main([*asked, "1.2.3.1"]) == 0
        assert "1.2.3.1: 3 instances\n" in capsys.readouterr().err
        assert command.main([*asked, "1.2.3.9"]) == 1
    rows = box.journal.instances()
    assert {row.sop_instance_uid for row in rows} == {"1.2.3.1.1.1", "1.2.3.1.1.2", "1.2.3.1.1.3"}
    assert {row.calling_ae_title for row in rows} == {dcmqrscp.TITLE}
    for row in rows:
        came = pydicom.dcmread(box.state / "incoming" / row.file)
        assert came.PixelData == instance(int(row.sop_instance_uid[-1])).PixelData


def write_settings(folder: Path, title: str, port: int) -> Path:
    """Those of a box with its state beside them that fetches from an archive there."""
    path = folder / "box.toml"
    path.write_text(
        f"""
        state = "{folder / "state"}"
        release = "{folder / "release"}"
        allow_unsigned = true
        [receive]
        ae_title = "MRIBOX"
        senders = [{{ ae_title = "{title}", networks = ["127.0.0.1/32"] }}]
        [[archives]]
        name = "pacs"
        dicom = {{ ae_title = "{title}", address = "127.0.0.1", port = {port} }}
        """
    )
    return path


def test_got_studies_are_files_in_a_folder(archive: Orthanc, tmp_path: Path) -> None:
    (whole,) = fetch.got(peer(archive), ["1.2.3.1"], tmp_path / "scans", [].append)
    assert (whole.completed, whole.failed, whole.reason) == (3, 0, "")
    read = [pydicom.dcmread(path) for path in sorted((tmp_path / "scans").iterdir())]
    assert {each.SOPInstanceUID for each in read} == {"1.2.3.1.1.1", "1.2.3.1.1.2", "1.2.3.1.1.3"}
    assert all("1.2.3" not in path.name for path in (tmp_path / "scans").iterdir())


def test_an_archive_that_cannot_send_is_said(archive: Orthanc) -> None:
    # Nobody listens where it believes the box to be.
    (found,) = fetch.moved(peer(archive), ["1.2.3.1"], "MRIBOX", [].append)
    assert found.reason
    away = Peer(Dicom(ae_title="ORTHANC", address="127.0.0.1", port=free_port(), timeout_s=5.0), "MRIBOX")
    with pytest.raises(DicomError, match="no connection"):
        fetch.found(away, {}, [].append)


def test_the_command_lists_and_fetches(archive: Orthanc, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    settings = write_settings(tmp_path, "ORTHANC", archive.dicom)
    asked = ["fetch", str(settings), "pacs", "--find", "PatientID=P1", "--all", "--to", str(tmp_path / "scans")]
    assert command.main(asked) == 0
    said = capsys.readouterr()
    assert said.out.startswith("1.2.3.1  20260101")
    assert "3 instances" in said.err
    assert command.main(["fetch", str(settings), "pacs", "--study", "1.9", "--to", str(tmp_path / "scans")]) == 1
    assert command.main(["fetch", str(settings), "other"]) == 1
    assert "one of the archives pacs" in capsys.readouterr().err
    assert command.main(["fetch", str(settings), "pacs", "--list", str(tmp_path / "none.txt")]) == 1
    assert "a file of UIDs" in capsys.readouterr().err
    with pytest.raises(SystemExit):
        command.main(["fetch", str(settings), "pacs", "--find", "PatientID"])
    assert "KEYWORD=VALUE" in capsys.readouterr().err
    queries = [ET.fromstring(each) for each in messages(tmp_path / "state" / "audit")]
    assert [each.find("EventIdentification/EventID").get("originalText") for each in queries] == ["Query"] * 3  # type: ignore[union-attr]
    objects = [each.findall("ParticipantObjectIdentification")[-1] for each in queries]
    roots = ["1.2.840.10008.5.1.4.1.2.2.1", *["1.2.840.10008.5.1.4.1.2.2.3"] * 2]
    assert [each.get("ParticipantObjectID") for each in objects] == roots
    identifiers = [decoded(each.findtext("ParticipantObjectQuery") or "") for each in objects]
    assert identifiers[0].PatientID == "P1"
    assert [each.StudyInstanceUID for each in identifiers[1:]] == ["1.2.3.1", "1.9"]
    titles = [[one.get("UserID") for one in each.findall("ActiveParticipant")] for each in queries]
    assert titles == [[getpass.getuser(), "MRIBOX", "ORTHANC"]] * 3


def decoded(query: str) -> Dataset:
    """An identifier, as the trail has it."""
    return decode(BytesIO(b64decode(query)), is_implicit_vr=True, is_little_endian=True)
