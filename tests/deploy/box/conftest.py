"""A receiving box on a free loopback port, and who sends to it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.uid import ExplicitVRLittleEndian, MRImageStorage
from pynetdicom import AE
from pynetdicom.association import Association
from pynetdicom.transport import AssociationSocket

from deploy.box import scp
from deploy.box.front import Measured
from deploy.box.incoming import Incoming
from deploy.box.journal import Journal
from deploy.box.quarantine import Quarantine
from deploy.box.settings import Receive
from deploy.box.watch import Watch


def instance(number: int = 1, study: int = 1, size: int = 64, **changes: Any) -> Dataset:
    """A slice as a scanner sends it; its UIDs tell its numbers."""
    made = Dataset()
    made.SOPClassUID = MRImageStorage
    made.StudyInstanceUID = f"1.2.3.{study}"
    made.SeriesInstanceUID = f"1.2.3.{study}.1"
    made.SOPInstanceUID = f"1.2.3.{study}.1.{number}"
    made.PatientID, made.PatientName, made.Modality = "P1", "Doe^Jane", "MR"
    made.Rows = made.Columns = size
    made.BitsAllocated = made.BitsStored = 16
    made.HighBit, made.PixelRepresentation, made.SamplesPerPixel = 15, 0, 1
    made.PhotometricInterpretation = "MONOCHROME2"
    made.PixelData = np.random.default_rng(number).integers(0, 4096, (size, size), np.uint16).tobytes()
    for name, value in changes.items():
        setattr(made, name, value)
    made.file_meta = FileMetaDataset()
    made.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    made.file_meta.MediaStorageSOPClassUID = made.SOPClassUID
    made.file_meta.MediaStorageSOPInstanceUID = made.SOPInstanceUID
    return made


def associate(port: int, calling: str = "SCANNER", called: str = "MRIBOX", **named: Any) -> Association:
    """An association for slices and echoes."""
    entity = AE(calling)
    entity.acse_timeout = entity.dimse_timeout = entity.network_timeout = 10
    entity.add_requested_context(MRImageStorage, ExplicitVRLittleEndian)
    entity.add_requested_context("1.2.840.10008.1.1")
    return entity.associate("127.0.0.1", port, ae_title=called, **named)


@dataclass
class Receiver:
    """What is listening."""

    state: Path
    port: int
    incoming: Incoming
    journal: Journal
    quarantine: Quarantine

    def send(self, *datasets: Dataset) -> list[int | None]:
        """The status of each in one association; None where there was no answer."""
        association = associate(self.port)
        assert association.is_established
        try:
            return [association.send_c_store(each).get("Status") for each in datasets]
        finally:
            association.release()


def settings(**changes: Any) -> Receive:
    """Of a box that takes from SCANNER on this machine."""
    given = {
        "ae_title": "MRIBOX",
        "port": 0,
        "senders": [{"ae_title": "SCANNER", "networks": ["127.0.0.1/32"]}],
        "idle_s": 5.0,
        "keep_free_mb": 1,
    }
    return Receive.model_validate(given | changes)


@pytest.fixture(autouse=True)
def senders_close(monkeypatch: pytest.MonkeyPatch) -> None:
    """pynetdicom leaves the socket open of a sender whose association ended badly; the box's own close themselves."""
    shut_down = AssociationSocket._shutdown_socket

    def close(self: AssociationSocket) -> None:
        socket = self.socket
        shut_down(self)
        if socket is not None and not isinstance(socket, Measured):
            socket.close()

    monkeypatch.setattr(AssociationSocket, "_shutdown_socket", close)


@pytest.fixture
def receiver(tmp_path: Path) -> Iterator[Callable[..., Receiver]]:
    """Starts one, with settings other than the usual."""
    with ExitStack() as stack:

        def start(watch: Watch | None = None, **changes: Any) -> Receiver:
            wanted = settings(**changes)
            tmp_path.joinpath("state").mkdir(exist_ok=True)
            journal = Journal(tmp_path / "state" / "journal.sqlite")
            stack.callback(journal.close)
            incoming = Incoming(tmp_path / "state" / "incoming", journal, wanted.keep_free_mb * 2**20)
            quarantine = Quarantine(tmp_path / "state" / "quarantine", 2**20)
            port = stack.enter_context(scp.listening(wanted, incoming, quarantine, watch=watch))
            return Receiver(tmp_path / "state", port, incoming, journal, quarantine)

        yield start
