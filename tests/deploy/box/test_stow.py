"""STOW-RS to a real archive, and to servers that answer as they should not."""

from __future__ import annotations

import json
import ssl
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from deploy.box.delivery import Delivery
from deploy.box.destinations import Destination
from deploy.box.journal import Journal
from deploy.box.outbox import Outbox
from deploy.box.sender import Sending
from deploy.box.stow import StowRs
from tests.deploy.box.archive import listening
from tests.deploy.box.orthanc import orthanc
from tests.deploy.box.results import destination
from tests.deploy.box.test_sender import filled, uids
from tests.deploy.box.test_tls import certificate
from tests.waiting import within


@pytest.fixture
def journal(tmp_path: Path) -> Journal:
    return Journal(tmp_path / "journal.sqlite")


def to(url: str, tries: int = 2, **changes: object) -> Destination:
    stow = {"url": url, "timeout_s": 2.0} | changes
    return destination("web", dicom=None, stow=stow, retry={"first_s": 0.01, "tries": tries})


def until_settled(outbox: Outbox, where: Destination) -> list[Delivery]:
    assert where.stow is not None
    sending = Sending(outbox, where, StowRs(where.stow, outbox.folder))
    assert within(120, lambda: sending.round() == 0 and not outbox.counts()["queued"])
    return outbox.deliveries()


class Server(ThreadingHTTPServer):
    """Answers what `reply` says to a body: a status, and JSON or bytes; asked for what, it remembers."""

    reply: Callable[[bytes], tuple[int, object]]
    seen: list[dict[str, str]]


class Handler(BaseHTTPRequestHandler):
    server: Server

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        self.server.seen.append({"path": self.path, **{name.lower(): value for name, value in self.headers.items()}})
        status, told = self.server.reply(body)
        content = told if isinstance(told, bytes) else json.dumps(told).encode()
        self.send_response(status)
        self.send_header("Content-Length", str(len(content)))
        if status == 302:
            self.send_header("Location", f"http://127.0.0.1:{self.server.server_port}/elsewhere")
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, *_: object) -> None:
        pass


@contextmanager
def server(reply: Callable[[bytes], tuple[int, object]], tls: ssl.SSLContext | None = None) -> Iterator[Server]:
    made = Server(("127.0.0.1", 0), Handler)
    made.reply, made.seen = reply, []
    if tls is not None:
        made.socket = tls.wrap_socket(made.socket, server_side=True)
    thread = threading.Thread(target=made.serve_forever, kwargs={"poll_interval": 0.05})
    thread.start()
    try:
        yield made
    finally:
        made.shutdown()
        made.server_close()
        thread.join()


def told(body: bytes, sequence: str = "00081199", **more: int) -> dict[str, object]:
    """A response that names the object of a body in this sequence."""
    uid = next(each for each in ("1.2.4.1.2", "1.2.4.1.3") if each.encode() in body)
    reasons = {tag: {"vr": "US", "Value": [value]} for tag, value in more.items()}
    return {sequence: {"vr": "SQ", "Value": [{"00081155": {"vr": "UI", "Value": [uid]}, **reasons}]}}


@pytest.mark.acceptance
def test_orthanc_has_what_is_sent_and_asks_for_a_password(journal: Journal, tmp_path: Path) -> None:
    password = tmp_path / "password"
    password.write_text("wrong\n")
    with orthanc(tmp_path / "orthanc", password="secret") as pacs:
        where = to(pacs.url, user="box", secret_file=str(password))
        outbox = filled(journal, where, size=600)
        found = until_settled(outbox, where)
        assert {(each.state, each.reason) for each in found} == {("dead", "HTTP 401")}
        password.write_text("secret\n")
        outbox.replay()
        assert {(each.state, each.last_status) for each in until_settled(outbox, where)} == {("sent", 0)}
        assert pacs.stored() == uids(outbox)
        for each in outbox.deliveries():
            assert len(pacs.file(each.sop_instance_uid)) == (outbox.folder / each.file).stat().st_size


def test_a_token_goes_along_and_nowhere_else(journal: Journal, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MRI_BOX_TOKEN", "t0ken")
    with server(lambda _: (302, {})) as web:
        where = to(f"http://127.0.0.1:{web.server_port}/dicom-web", secret_variable="MRI_BOX_TOKEN")
        found = until_settled(filled(journal, where), where)
    assert {(each.state, each.reason) for each in found} == {("dead", "HTTP 302")}
    assert {(each["path"], each["authorization"]) for each in web.seen} == {("/dicom-web/studies", "Bearer t0ken")}
    assert web.seen[0]["content-type"].startswith('multipart/related; type="application/dicom"; boundary=')


def test_no_secret_is_said(journal: Journal) -> None:
    where = to("http://127.0.0.1:9/dicom-web", secret_variable="MRI_BOX_NOT_SET")
    assert "the secret cannot be used" in until_settled(filled(journal, where), where)[0].reason


@pytest.mark.parametrize(("secret", "user"), [("one\ntwo", None), ("日本", None), ("日本", "box"), ("\x00", "box")])
def test_a_secret_that_no_header_can_hold_is_said(journal: Journal, tmp_path: Path, secret: str, user: str) -> None:
    (tmp_path / "secret").write_text(secret, encoding="utf-8")
    where = to("http://127.0.0.1:9/dicom-web", user=user, secret_file=str(tmp_path / "secret"))
    assert "the secret cannot be used" in until_settled(filled(journal, where), where)[0].reason


@pytest.mark.parametrize(
    ("reply", "state", "status", "reason"),
    [
        (lambda body: (200, told(body)), "sent", 0, ""),
        (lambda body: (200, [told(body)]), "sent", 0, ""),
        (lambda body: (202, told(body, **{"00081196": 0xB000})), "warned", 0xB000, "coercion"),
        (lambda body: (409, told(body, "00081198", **{"00081197": 0xA700})), "dead", 0xA700, "out of resources"),
        (lambda body: (202, told(body, "00081198", **{"00081197": 0xC000})), "dead", 0xC000, "cannot understand"),
        (lambda _: (200, {}), "dead", None, "does not name the object"),
        (lambda _: (200, b""), "dead", None, "no DICOM JSON"),
        (lambda _: (200, b"<html>"), "dead", None, "no DICOM JSON"),
        (lambda _: (200, {"00081199": {"vr": "SQ", "Value": ["x"]}}), "dead", None, "no DICOM JSON"),
        (lambda _: (200, [1]), "dead", None, "no DICOM JSON"),
        (lambda _: (503, b"later"), "dead", None, "HTTP 503"),
    ],
)
def test_answers(
    journal: Journal,
    reply: Callable[[bytes], tuple[int, object]],
    state: str,
    status: int | None,
    reason: str,
) -> None:
    with server(reply) as web:
        where = to(f"http://127.0.0.1:{web.server_port}")
        found = until_settled(filled(journal, where), where)
    assert {(each.state, each.last_status) for each in found} == {(state, status)}
    assert reason in found[0].reason


@pytest.mark.parametrize("silent", [True, False])
def test_a_server_that_says_nothing_or_hangs_up(journal: Journal, silent: bool) -> None:
    def talk(line: object) -> None:
        if silent:
            raise TimeoutError

    with listening(talk) as port:
        where = to(f"http://127.0.0.1:{port}", tries=1)
        found = until_settled(filled(journal, where), where)
    assert {(each.state, each.last_status) for each in found} == {("dead", None)}
    assert "no answer" in found[0].reason


def test_a_server_whom_nobody_vouches_for(journal: Journal, tmp_path: Path) -> None:
    for name, authority in (("hospital", None), ("server", "hospital"), ("elsewhere", None)):
        certificate(tmp_path, name, authority)
    tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    tls.load_cert_chain(tmp_path / "server.pem", tmp_path / "server.key")
    with server(lambda body: (200, told(body)), tls) as web:
        url = f"https://127.0.0.1:{web.server_port}"
        where = to(url, authorities=str(tmp_path / "elsewhere.pem"))
        outbox = filled(journal, where)
        assert {each.reason for each in until_settled(outbox, where)} == {"no answer: SSLError"}
        outbox.replay()
        where = to(url, authorities=str(tmp_path / "hospital.pem"))
        assert {each.state for each in until_settled(outbox, where)} == {"sent"}
