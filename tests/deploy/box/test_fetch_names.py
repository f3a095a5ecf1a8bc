"""Patients whose names are not ASCII, looked for in real archives: those are found who are meant, and no others."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager
from pathlib import Path

import pytest
from pynetdicom import AE

from deploy.box import fetch
from deploy.box.audit_messages import Query
from deploy.box.destinations import Dicom
from deploy.box.peer import Peer
from pipeline.errors import DicomError
from tests.deploy.box import dcmqrscp, orthanc
from tests.deploy.box.conftest import instance
from tests.ports import free_port

#: By the numbers of their studies. As many letters as another has, where each is any letter.
NAMES = {1: "山田^太郎", 2: "佐藤^花子", 3: "Müller^Jörg", 4: "Miller^Jorg"}


@contextmanager
def orthancs(folder: Path) -> Iterator[int]:
    with orthanc.orthanc(folder) as here:
        yield here.dicom


@pytest.mark.acceptance
@pytest.mark.parametrize(("title", "start"), [("ORTHANC", orthancs), (dcmqrscp.TITLE, dcmqrscp.dcmqrscp)])
def test_a_name_finds_those_who_bear_it(
    title: str, start: Callable[[Path], AbstractContextManager[int]], tmp_path: Path
) -> None:
    with ExitStack() as stack:
        port = stack.enter_context(start(tmp_path / "archive"))
        entity = AE("SCANNER")
        entity.add_requested_context(instance().SOPClassUID)
        association = entity.associate("127.0.0.1", port, ae_title=title)
        for number, name in NAMES.items():
            sent = instance(1, number, SpecificCharacterSet="ISO_IR 192", PatientName=name, StudyDate="20260101")
            assert association.send_c_store(sent).Status == 0
        association.release()
        peer = Peer(Dicom(ae_title=title, address="127.0.0.1", port=port, timeout_s=60.0), "MRIBOX")

        def found(name: str) -> list[str]:
            return [str(each.StudyInstanceUID) for each in fetch.found(peer, {"PatientName": name}, [].append)]

        assert found("山田^太郎") == ["1.2.3.1"]
        assert found("佐藤*") == ["1.2.3.2"]
        assert found("Müller*") == ["1.2.3.3"]
        assert found("Miller*") == ["1.2.3.4"]


@pytest.mark.filterwarnings("ignore::UserWarning:pydicom")
def test_a_code_that_is_not_ascii_is_refused() -> None:
    nobody = Peer(Dicom(ae_title="PACS", address="127.0.0.1", port=free_port()), "MRIBOX")
    with pytest.raises(DicomError, match="those of ASCII alone"):
        fetch.found(nobody, {"ModalitiesInStudy": "磁気"}, [].append)


def test_what_is_not_ascii_is_asked_for_in_utf_8_and_nothing_else_is() -> None:
    nobody = Peer(Dicom(ae_title="PACS", address="127.0.0.1", port=free_port()), "MRIBOX")
    asked: list[Query] = []
    for name in ("山田*", "Doe*"):
        with pytest.raises(DicomError, match="no connection"):
            fetch.found(nobody, {"PatientName": name}, asked.append)
    one, other = (query.identifier for query in asked)
    assert "山田*".encode() in one
    assert b"ISO_IR 192" in one
    assert b"Doe*" in other
    assert b"ISO_IR" not in other
