"""A name with several addresses: each is tried, and all of them together take no longer than one may."""

from __future__ import annotations

import errno
import socket
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from pydicom.uid import Comprehensive3DSRStorage
from pynetdicom.transport import AddressInformation, AssociationSocket

from deploy.box.destinations import Dicom
from deploy.box.fields import Tls
from deploy.box.peer import Peer
from deploy.box.tls import server_context
from tests.deploy.box.archive import archive
from tests.deploy.box.test_tls import certificate

pytestmark = pytest.mark.acceptance
Leads = Callable[..., None]


@pytest.fixture
def leads(monkeypatch: pytest.MonkeyPatch) -> Leads:
    """Has a name lead to addresses of this machine, in this order."""
    look_up = socket.getaddrinfo

    def to(name: str, *addresses: str) -> None:
        def answer(host: Any, port: Any, *more: Any, **named: Any) -> Any:
            # pynetdicom looks up what it is given without a port.
            asked = addresses if host == name and port else (host,)
            return [found for each in asked for found in look_up(each, port, *more, **named)]

        monkeypatch.setattr(socket, "getaddrinfo", answer)

    return to


def reached(settings: Dicom) -> str:
    """The address of the association, or why there is none."""
    with Peer(settings, "MRIBOX").associated([Comprehensive3DSRStorage]) as association:
        return association if isinstance(association, str) else association.acceptor.address


@pytest.mark.parametrize("first", ["::1", "127.0.0.2"])
def test_the_next_address_is_tried_where_the_first_takes_no_connection(leads: Leads, first: str) -> None:
    with archive() as pacs:
        leads("pacs.example.org", first, "127.0.0.1")
        assert reached(Dicom(ae_title="PACS", address="pacs.example.org", port=pacs.port)) == "127.0.0.1"
        # Who takes the connection and says no is asked no further.
        leads("pacs.example.org", "127.0.0.1", "127.0.0.2")
        assert "rejected" in reached(Dicom(ae_title="OTHER", address="pacs.example.org", port=pacs.port))


def test_a_family_that_this_machine_does_not_speak_is_passed_over(
    leads: Leads, monkeypatch: pytest.MonkeyPatch
) -> None:
    create = AssociationSocket._create_socket

    def refuse(self: AssociationSocket, address: AddressInformation) -> socket.socket:
        """As where IPv6 is switched off."""
        if address.is_ipv6:
            raise OSError(errno.EADDRNOTAVAIL, "Cannot assign requested address")
        return create(self, address)

    monkeypatch.setattr(AssociationSocket, "_create_socket", refuse)
    with archive() as pacs:
        for addresses in (("::1", "127.0.0.1"), ("127.0.0.1", "::1")):
            leads("pacs.example.org", *addresses)
            assert reached(Dicom(ae_title="PACS", address="pacs.example.org", port=pacs.port)) == "127.0.0.1"
        leads("pacs.example.org", "::1")
        with pytest.raises(OSError, match="Cannot assign"):
            reached(Dicom(ae_title="PACS", address="pacs.example.org", port=pacs.port))


def test_no_address_has_more_than_its_part_of_the_time(leads: Leads, tmp_path: Path) -> None:
    for name, authority in (("hospital", None), ("box", "hospital"), ("pacs", "hospital")):
        certificate(tmp_path, name, authority)
    own, its = (
        Tls(
            certificate=tmp_path / f"{name}.pem",
            key=tmp_path / f"{name}.key",
            authorities=tmp_path / "hospital.pem",
        )
        for name in ("box", "pacs")
    )
    # The first takes connections, and says nothing of TLS.
    with (
        archive(tls=server_context(its, required=True)) as pacs,
        socket.create_server(("127.0.0.2", pacs.port)),
    ):
        leads("127.0.0.1", "127.0.0.2", "127.0.0.1")
        began = time.monotonic()
        settings = Dicom(ae_title="PACS", address="127.0.0.1", port=pacs.port, tls=own, timeout_s=16.0)
        assert reached(settings) == "127.0.0.1"
        assert 7.9 < time.monotonic() - began < 16.0
