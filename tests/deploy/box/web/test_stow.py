"""STOW-RS as archives and as those who mean harm speak it."""

from __future__ import annotations

import shutil
import socket
from collections.abc import Callable
from contextlib import ExitStack
from io import BytesIO
from pathlib import Path
from typing import Any

import httpx
import pydicom
import pytest
from pydicom.dataset import Dataset
from pydicom.uid import CTImageStorage

from deploy.box.web.multipart import Limits, Parts, RefusedError
from tests.deploy.box.conftest import instance
from tests.deploy.box.orthanc import orthanc
from tests.deploy.box.web.conftest import TOKEN, Site

Start = Callable[..., Site]
FAILED, REFERENCED, OTHER, REASON, INSTANCE = "00081198", "00081199", "0008119A", "00081197", "00081155"
RELATED = 'multipart/related; type="application/dicom"; boundary=next'


def encoded(made: Dataset) -> bytes:
    file = BytesIO()
    made.save_as(file, enforce_file_format=True)
    return file.getvalue()


def body(*parts: bytes, kind: bytes = b"application/dicom", end: bytes = b"--next--\r\n") -> bytes:
    return b"".join(b"--next\r\nContent-Type: " + kind + b"\r\n\r\n" + part + b"\r\n" for part in parts) + end


def stow(box: Site, content: Any, path: str = "/dicomweb/studies", **headers: str) -> httpx.Response:
    named = {"authorization": f"Bearer {TOKEN}", "content-type": RELATED, **headers}
    return box.ask("POST", path, content=content, headers=named)


def reasons(found: httpx.Response, sequence: str = FAILED) -> list[int]:
    return [item[REASON]["Value"][0] for item in found.json()[sequence]["Value"]]


def test_success_means_that_the_file_and_its_row_are_there(site: Start) -> None:
    box = site()
    found = stow(box, body(encoded(instance(1)), encoded(instance(2))), "/dicomweb/studies/1.2.3.1")
    assert (found.status_code, found.headers["content-type"]) == (200, "application/dicom+json")
    assert [item[INSTANCE]["Value"] for item in found.json()[REFERENCED]["Value"]] == [["1.2.3.1.1.1"], ["1.2.3.1.1.2"]]
    rows = box.journal.instances()
    assert [row.sop_instance_uid for row in rows] == ["1.2.3.1.1.1", "1.2.3.1.1.2"]
    kept = pydicom.dcmread(box.settings.state / "incoming" / rows[0].file)
    assert kept.PixelData == instance(1).PixelData
    assert stow(box, body(encoded(instance(1)))).status_code == 200
    assert len(box.journal.instances()) == 2


def test_what_fails_is_said_of_each_instance(site: Start) -> None:
    box = site()
    foreign, other = instance(2, SOPClassUID=CTImageStorage), instance(3, study=2)
    bare = instance(4)
    del bare.StudyInstanceUID
    parts = [encoded(each) for each in (instance(1), foreign, other, bare)]
    found = stow(box, body(*parts, b"no DICOM"), "/dicomweb/studies/1.2.3.1")
    assert found.status_code == 202
    assert reasons(found) == [0x0122, 0xA900]
    assert reasons(found, OTHER) == [0xC000, 0xC000]
    assert [row.sop_instance_uid for row in box.journal.instances()] == ["1.2.3.1.1.1"]
    assert len(list((box.settings.state / "quarantine").glob("*.json"))) == 2
    assert stow(box, body(parts[1])).status_code == 409
    assert 'box_instances_refused_total{by="stow",status="C000"} 2.0' in box.get("/metrics").text


def test_a_syntax_that_cannot_be_read_is_refused(site: Start) -> None:
    content = encoded(instance()).replace(b"1.2.840.10008.1.2.1\0", b"1.2.840.10008.1.2.9\0", 1)
    assert reasons(stow(site(), body(content))) == [0xC122]


@pytest.mark.parametrize("uid", ["../../../etc/passwd", "..%2f..%2fetc", "1.2.3%00", "a" * 70, "1..2"])
def test_no_path_comes_from_an_address_or_a_uid(site: Start, uid: str) -> None:
    box = site()
    assert stow(box, body(encoded(instance())), f"/dicomweb/studies/{uid}").status_code in (400, 404)
    with pydicom.config.disable_value_validation():
        made = instance(SOPInstanceUID="../../../../tmp/x")
        assert stow(box, body(encoded(made))).status_code == 409
    assert box.journal.instances() == []
    assert not any("passwd" in str(path) or path.name == "x" for path in box.settings.state.rglob("*"))


@pytest.mark.parametrize(
    ("content", "kind", "status", "reason"),
    [
        (body(b""), 'multipart/related; type="application/dicom"', 400, "names no boundary"),
        (body(b""), RELATED.replace("next", "n" * 400), 400, "none that RFC 2046 allows"),
        (body(b""), "multipart/form-data; boundary=next", 415, "multipart/related"),
        (body(b""), 'multipart/related; type="application/dicom+json"; boundary=next', 415, "multipart/related"),
        (body(b""), "application/dicom", 415, "multipart/related"),
        (body(encoded(instance()))[:-30], RELATED, 400, "before its last boundary"),
        (body(encoded(instance()), end=b""), RELATED, 400, "before its last boundary"),
        (b"", RELATED, 400, "before its last boundary"),
        (b"no multipart at all", RELATED, 400, "not multipart"),
        (body(), RELATED, 400, "no part"),
        (b"--next\r\n" + b"X: " + b"y" * 100_000 + b"\r\n\r\n\r\n--next--", RELATED, 400, "not multipart"),
        (b"--next\r\n" + b"X: y\r\n" * 1_000 + b"\r\n\r\n--next--", RELATED, 400, "not multipart"),
    ],
)
def test_what_is_no_request_of_stow_is_refused(
    site: Start, content: bytes, kind: str, status: int, reason: str
) -> None:
    box = site()
    found = stow(box, content, **{"content-type": kind})
    assert (found.status_code, reason in found.text) == (status, True), found.text
    assert box.journal.instances() == []


def test_parts_of_another_kind_are_none_of_ours(site: Start) -> None:
    found = stow(site(), body(encoded(instance()), kind=b"application/json"))
    assert (found.status_code, reasons(found, OTHER)) == (409, [0xC000])


def test_limits_hold_before_memory_is_taken(site: Start) -> None:
    box = site(stow_mb=1, stow_instances=100)
    assert stow(box, body(*[b""] * 10_000)).status_code == 413
    assert stow(box, body(b"x" * 2**20)).status_code == 413
    endless = (b"--next\r\nContent-Type: application/dicom\r\n\r\n", *[b"x" * 2**16] * 40)
    assert stow(box, iter(endless)).status_code == 413
    line = socket.create_connection(("127.0.0.1", int(box.address.rpartition(":")[2])), timeout=60)
    with line:
        head = f"POST /dicomweb/studies HTTP/1.1\r\nHost: box\r\nAuthorization: Bearer {TOKEN}\r\n"
        line.sendall(f"{head}Content-Type: {RELATED}\r\nContent-Length: {2**40}\r\n\r\n".encode())
        assert line.recv(4096).startswith(b"HTTP/1.1 413")
    assert stow(box, body(encoded(instance()))).status_code == 200


def test_one_part_takes_no_more_than_one_instance_may() -> None:
    parts = Parts(b"next", Limits(part=1_000, whole=2**20, parts=5))
    with pytest.raises(RefusedError, match="1000 bytes in one part"):
        list(parts.feed(body(b"x" * 1_001)))


@pytest.mark.parametrize("size", [1, 7, 64, 100_000])
def test_parts_are_the_same_in_pieces_of_any_size(size: int) -> None:
    contents = [b"\r\n--nex", b"", b"--nex\r\n", b"\r\n\r\n--\r\n--nex", bytes(range(256)) * 40]
    whole = body(*contents)
    parts = Parts(b"next", Limits(2**20, 2**20, 10))
    found = [part for at in range(0, len(whole), size) for part in parts.feed(whole[at : at + size])]
    parts.end()
    assert [part.content for part in found] == contents


def test_who_shows_no_token_is_not_listened_to(site: Start) -> None:
    box = site()
    for wrong in ("", f"Bearer {TOKEN}x", f"Basic {TOKEN}"):
        assert stow(box, body(encoded(instance())), authorization=wrong).status_code == 401
    assert stow(box, body(encoded(instance())), origin="https://elsewhere.example").status_code == 403
    assert box.journal.instances() == []


def test_a_disk_without_room_says_try_again(site: Start, monkeypatch: pytest.MonkeyPatch) -> None:
    box = site()
    monkeypatch.setattr(shutil, "disk_usage", lambda _: shutil._ntuple_diskusage(9, 9, 0))  # type: ignore[attr-defined]
    found = stow(box, body(encoded(instance())))
    assert (found.status_code, reasons(found)) == (503, [0xA700])
    assert found.headers["retry-after"] == "60"
    assert box.journal.instances() == []


def test_answers_are_json_or_none(site: Start) -> None:
    assert stow(site(), body(encoded(instance())), accept="application/dicom+xml").status_code == 406


@pytest.mark.acceptance
def test_orthanc_stores_a_study_in_the_box(site: Start, tmp_path: Path) -> None:
    box = site()
    server = {"Url": f"{box.address}/dicomweb/", "HttpHeaders": {"Authorization": f"Bearer {TOKEN}"}}
    with ExitStack() as stack:
        pacs = stack.enter_context(orthanc(tmp_path / "orthanc", servers={"box": server}))
        asked = httpx.Client(base_url=f"http://127.0.0.1:{pacs.http}", trust_env=False, timeout=120)
        archive = stack.enter_context(asked)
        ids = [archive.post("/instances", content=encoded(instance(each))).json()["ID"] for each in range(1, 26)]
        sent = archive.post("/dicom-web/servers/box/stow", json={"Resources": ids, "Synchronous": True})
        assert sent.status_code == 200, sent.text
        assert len(box.journal.instances("1.2.3.1")) == 25
        bad = archive.post("/instances", content=encoded(instance(99, SOPClassUID=CTImageStorage))).json()["ID"]
        refused = archive.post("/dicom-web/servers/box/stow", json={"Resources": [bad], "Synchronous": True})
        assert refused.status_code != 200
    assert len(box.journal.instances()) == 25
