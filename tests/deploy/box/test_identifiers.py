"""A whole box: what names a patient or a study is on its disk, in its results and its audit trail, and nowhere else."""

from __future__ import annotations

import json
import signal
from io import BytesIO
from pathlib import Path

import httpx
import pydicom
import pytest
from pydicom.dataset import Dataset

from tests.deploy.box.conftest import associate, instance
from tests.deploy.box.served import destination, port_of, serving, web, write_settings
from tests.deploy.box.test_service import of_journal
from tests.inference.conftest import Maker, SeriesWriter
from tests.ports import free_port, listens
from tests.waiting import within

pytestmark = pytest.mark.acceptance
TOKEN = "c0ffee" * 8
#: Of every study that is sent below; no number of the box's own is one of them.
NAMES = ("Zimmermann", "Adelheid", "PID-4711-X", "ACC-998877", "Dr^Quincy", "Bahnhofstrasse")


def named(made: Dataset) -> Dataset:
    """With everything that may name somebody, and a value that DICOM does not allow, which readers warn of."""
    made.PatientName, made.PatientID = "Zimmermann^Adelheid", "PID-4711-X"
    made.AccessionNumber, made.ReferringPhysicianName = "ACC-998877", "Dr^Quincy"
    made.PatientAddress = "Bahnhofstrasse 12"
    with pydicom.config.disable_value_validation():
        made.ContrastBolusStartTime = "Zimmermann"
    return made


def settings(folder: Path, release: Path) -> tuple[Path, str]:
    """Its file, and where its page is."""
    page, nobody = free_port(), free_port()
    retry = "retry = { first_s = 0.1, longest_s = 0.2, tries = 2 }"
    more = web(folder, page, TOKEN) + destination("pacs", "PACS", nobody, retry)
    return write_settings(folder, release, more=more), f"http://127.0.0.1:{page}"


def send(port: int, good: list[Dataset], page: str) -> None:
    """A good study and broken instances over both ways, and requests that are refused."""
    association = associate(port)
    for each in good:
        assert association.send_c_store(each).Status == 0
    broken = named(instance(9, study=9))
    del broken.SeriesInstanceUID
    assert association.send_c_store(broken).Status == 0xC000
    association.release()
    assert not associate(port, calling="STRANGER").is_established
    file = BytesIO()
    broken.save_as(file, enforce_file_format=True)
    body = b"--b\r\nContent-Type: application/dicom\r\n\r\n" + file.getvalue() + b"\r\n--b--"
    kind = {"content-type": 'multipart/related; type="application/dicom"; boundary=b'}
    for token in (TOKEN, "wrong"):
        head = {"authorization": f"Bearer {token}", **kind}
        uid = good[0].StudyInstanceUID
        httpx.post(f"{page}/dicomweb/studies/{uid}", content=body, headers=head, trust_env=False)


def test_nothing_that_names_anybody_leaves_the_box(
    root: Path, make_release: Maker, write_series: SeriesWriter, tmp_path: Path
) -> None:
    path, page = settings(tmp_path, make_release(tmp_path / "release"))
    write_series(tmp_path / "study", 1)
    good = [named(pydicom.dcmread(file)) for file in sorted((tmp_path / "study").iterdir())]
    port = port_of(path)
    with serving(root, path) as box:
        assert within(120, lambda: listens(port)), path.with_name("box.log").read_text()
        send(port, good, page)
        assert within(120, lambda: of_journal(path)[0][0] == "answered"), path.with_name("box.log").read_text()
        log = path.with_name("box.log")
        assert within(60, lambda: log.read_text().count("is given up") == 2), log.read_text()
        head = {"authorization": f"Bearer {TOKEN}"}
        pages = ("/", "/failures", "/throughput", "/drift", "/release", "/metrics", "/health/live", "/health/ready")
        heard = [httpx.get(page + each, headers=head, trust_env=False).text for each in pages]
        box.send_signal(signal.SIGTERM)
        assert box.wait(60) == 0
    heard.append(log.read_text())
    uids = [str(good[0][name].value) for name in ("StudyInstanceUID", "SeriesInstanceUID", "SOPInstanceUID")]
    for secret in (*NAMES, *uids, "1.2.3.9", TOKEN):
        assert not [text[:200] for text in heard if secret in text], secret
    assert not [file for file in (tmp_path / "state").rglob("*") if any(each in str(file) for each in (*NAMES, *uids))]
    trail = "".join(file.read_text() for file in (tmp_path / "state" / "audit").glob("*.jsonl"))
    assert all(each in trail for each in ("Zimmermann^Adelheid", "PID-4711-X", uids[0]))
    assert json.loads(heard[7])["ok"] is True
