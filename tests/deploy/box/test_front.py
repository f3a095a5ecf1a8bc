"""Who may connect, and how much of what they say is read."""

from __future__ import annotations

import resource
import socket
import struct
import threading
from collections.abc import Callable

import pytest

from deploy.box import scp
from deploy.box.front import Meter, TooLongError
from tests.deploy.box.conftest import Receiver, associate, instance
from tests.waiting import within

Start = Callable[..., Receiver]


def pdu(length: int, said: int | None = None) -> bytes:
    """P-DATA of so many bytes."""
    return struct.pack(">BBL", 4, 0, length if said is None else said) + bytes(length)


def give(meter: Meter, stream: bytes, step: int) -> None:
    """As much at a time."""
    for place in range(0, len(stream), step):
        meter.received(stream[place : place + step])


def test_a_meter_lets_what_is_allowed_pass_however_it_is_cut() -> None:
    stream = pdu(70_000) + pdu(0) + pdu(65_536)
    for step in (1, 5, 7, 4096, 10**6):
        give(Meter(70_000, 10**6), stream, step)


@pytest.mark.parametrize("step", [1, 6, 4096])
def test_a_meter_stops_at_the_header_of_a_pdu_that_is_too_long(step: int) -> None:
    meter, stream = Meter(65_536, 10**9), pdu(100) + pdu(10, said=65_537)
    begun = 106 // step * step
    for place in range(0, begun, step):
        meter.received(stream[place : place + step])
    with pytest.raises(TooLongError, match="65537"):
        give(meter, stream[begun : begun + step + 6], step)


def test_a_meter_stops_an_instance_without_end_and_begins_anew_after_an_answer() -> None:
    meter = Meter(65_536, 10**6)
    for _ in range(3):
        for _ in range(15):
            meter.received(pdu(65_536))
        meter.answered()
    with pytest.raises(TooLongError, match="without an end"):
        give(meter, pdu(65_536) * 17, 4096)


def pushed(line: socket.socket, most: int) -> int:
    """Bytes that could be sent until the other side had closed."""
    for sent in range(0, most, 65_536):
        try:
            line.sendall(bytes(65_536))
        except OSError:
            return sent
    return most


def most_kib() -> int:
    """That this process ever held."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss


@pytest.mark.acceptance
def test_a_pdu_of_4_gib_is_not_waited_for(receiver: Start) -> None:
    box = receiver()
    before = most_kib()
    with socket.create_connection(("127.0.0.1", box.port), timeout=10) as line:
        line.sendall(struct.pack(">BBL", 1, 0, 2**32 - 1))
        line.settimeout(5)
        assert pushed(line, 200 * 2**20) < 20 * 2**20
    assert most_kib() - before < 20 * 2**10
    assert box.send(instance()) == [scp.SUCCESS]


@pytest.mark.acceptance
def test_an_instance_that_is_too_large_ends_its_association_alone(receiver: Start) -> None:
    box = receiver(instance_mb=1)
    association = associate(box.port)
    assert "Status" not in association.send_c_store(instance(size=1_024))
    assert within(5, lambda: association.is_aborted or not association.is_established)
    assert box.send(instance()) == [scp.SUCCESS]


@pytest.mark.acceptance
def test_silence_ends_a_connection_and_gives_its_thread_back(receiver: Start) -> None:
    box = receiver(idle_s=1.0)
    before = threading.active_count()
    lines = [socket.create_connection(("127.0.0.1", box.port), timeout=10) for _ in range(6)]
    lines[0].sendall(b"\x01\x00\x00")
    lines[1].sendall(struct.pack(">BBL", 1, 0, 200) + bytes(50))
    assert within(10, lambda: threading.active_count() > before)
    assert within(20, lambda: threading.active_count() <= before)
    for line in lines:
        line.close()


@pytest.mark.acceptance
def test_connections_are_counted(receiver: Start) -> None:
    box = receiver(associations=1, idle_s=30.0)
    lines = [socket.create_connection(("127.0.0.1", box.port), timeout=10) for _ in range(20)]
    for line in lines:
        line.settimeout(2)
    assert within(10, lambda: sum(closed(line) for line in lines) >= 11)
    for line in lines:
        line.close()
    assert within(10, lambda: established(box.port))


def established(port: int) -> bool:
    association = associate(port)
    if association.is_established:
        association.release()
        return True
    return False


def closed(line: socket.socket) -> bool:
    line.setblocking(False)
    try:
        return line.recv(1) == b""
    except BlockingIOError:
        return False
    except OSError:
        return True


@pytest.mark.acceptance
def test_an_address_that_is_not_listed_is_not_heard(receiver: Start) -> None:
    box = receiver(senders=[{"ae_title": "SCANNER", "networks": ["10.0.0.0/8"]}])
    with socket.create_connection(("127.0.0.1", box.port), timeout=10) as line:
        assert line.recv(1) == b""
