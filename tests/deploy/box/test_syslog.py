"""The audit trail at a collector: over TLS and UDP, all of it in its order, whatever the collector does meanwhile."""

from __future__ import annotations

import re
import socket
import ssl
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from deploy.box import audit_messages as told
from deploy.box.audit import Audit, messages
from deploy.box.audit_messages import Actor, Event
from deploy.box.settings import Syslog
from deploy.box.syslog import Forwarding, _ended
from tests.deploy.box.archive import accepting
from tests.deploy.box.test_tls import certificate
from tests.ports import free_port
from tests.waiting import within

#: RFC 5424, 6: PRI, VERSION, TIMESTAMP, HOSTNAME, APP-NAME, PROCID, MSGID, no STRUCTURED-DATA, BOM.
HEADER = re.compile(
    rb"<85>1 \d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}\+00:00 [!-~]{1,255} [!-~]{1,48} \d+ DICOM\+RFC3881 - \xef\xbb\xbf"
)


@pytest.fixture(scope="module")
def keys(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("keys")
    certificate(folder, "hospital")
    for name in ("collector", "box"):
        certificate(folder, name, "hospital")
    return folder


def recorded(folder: Path, *names: str) -> None:
    """A record for each."""
    audit = Audit(folder, "MRIBOX")
    for name in names:
        audit.record(Event(told.ACTIVITY, "E", [(Actor("box", name), told.APPLICATION)], [told.START]))


def tls(keys: Path, port: int) -> Syslog:
    files = {"certificate": keys / "box.pem", "key": keys / "box.key", "authorities": keys / "hospital.pem"}
    return Syslog.model_validate({"address": "127.0.0.1", "port": port, "tls": files})


@contextmanager
def collector(keys: Path, port: int, hears: Callable[[int], bool] = lambda _: True) -> Iterator[list[bytes]]:
    """What comes over TLS from who shows a certificate; a connection ends once `hears` of the number says no."""
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH, cafile=keys / "hospital.pem")
    context.load_cert_chain(keys / "collector.pem", keys / "collector.key")
    context.verify_mode = ssl.CERT_REQUIRED
    came = list[bytes]()

    def hear(plain: socket.socket, _: threading.Event) -> None:
        with context.wrap_socket(plain, server_side=True) as line, line.makefile("rb") as stream:
            while length := stream.read(1):
                while not length.endswith(b" "):
                    length += stream.read(1)
                came.append(stream.read(int(length)))
                if not hears(len(came)):
                    return

    with accepting(hear, port):
        yield came


def said(came: list[bytes]) -> list[str]:
    """Their XML, where each is a syslog message."""
    assert all(HEADER.match(each) for each in came), came
    return [HEADER.sub(b"", each).decode() for each in came]


def test_every_record_is_sent_once_and_in_order(keys: Path, tmp_path: Path) -> None:
    folder, port = tmp_path / "audit", free_port()
    recorded(folder, "one", "zwei^\u00c4", "three")
    with collector(keys, port) as came:
        forwarding = Forwarding(folder, tls(keys, port))
        assert (forwarding.round(), forwarding.round()) == (3, 0)
        forwarding.close()
        recorded(folder, "four")
        again = Forwarding(folder, tls(keys, port))
        assert again.round() == 1
        again.close()
        assert within(60, lambda: len(came) == 4)
    assert said(came) == list(messages(folder))


def test_the_days_follow_each_other(keys: Path, tmp_path: Path) -> None:
    folder, port = tmp_path / "audit", free_port()
    recorded(folder, "one", "two")
    (day,) = folder.glob("*.jsonl")
    day.rename(folder / "2020-01-01.jsonl")
    with collector(keys, port) as came:
        forwarding = Forwarding(folder, tls(keys, port))
        assert forwarding.round() == 2
        recorded(folder, "three")
        assert forwarding.round() == 1
        forwarding.close()
        assert within(60, lambda: len(came) == 3)
    assert said(came) == list(messages(folder))


def test_what_was_recorded_while_the_collector_was_away_comes_when_it_is_back(
    keys: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    folder, port, stop = tmp_path / "audit", free_port(), threading.Event()
    recorded(folder, "one")
    thread = threading.Thread(target=Forwarding(folder, tls(keys, port)).run, args=(stop, 0.01))
    thread.start()
    try:
        assert within(60, lambda: "waits to be sent" in caplog.text)
        recorded(folder, "two")
        with collector(keys, port) as came:
            assert within(60, lambda: len(came) == 2)
            stop.set()
            thread.join()
    finally:
        stop.set()
        thread.join()
    assert said(came) == list(messages(folder))
    assert caplog.text.count("waits to be sent") == 1


def test_a_connection_that_was_ended_is_made_anew(keys: Path, tmp_path: Path) -> None:
    folder, port = tmp_path / "audit", free_port()
    recorded(folder, "one")
    with collector(keys, port, lambda number: number != 1) as came:
        forwarding = Forwarding(folder, tls(keys, port))
        assert forwarding.round() == 1
        line = forwarding._line
        assert line is not None
        assert within(60, lambda: _ended(line))
        recorded(folder, "two")
        assert forwarding.round() == 1
        forwarding.close()
        assert within(60, lambda: len(came) == 2)
    assert said(came) == list(messages(folder))


def test_over_udp_a_datagram_is_a_message(tmp_path: Path) -> None:
    folder = tmp_path / "audit"
    recorded(folder, "one", "two")
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as line:
        line.bind(("127.0.0.1", 0))
        line.settimeout(60)
        forwarding = Forwarding(folder, Syslog(address="127.0.0.1", port=line.getsockname()[1]))
        assert forwarding.round() == 2
        forwarding.close()
        assert said([line.recv(65_535), line.recv(65_535)]) == list(messages(folder))
