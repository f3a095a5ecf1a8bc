"""What must be on the disk before an instance is acknowledged."""

from __future__ import annotations

import errno
import os
import shutil
import sqlite3
import zlib
from collections.abc import Iterator
from io import BytesIO
from pathlib import Path

import pytest
from pydicom.uid import DeflatedExplicitVRLittleEndian

from deploy.box.incoming import Incoming
from deploy.box.journal import Journal
from deploy.box.outbox import Outbox
from deploy.box.service import journal_of
from deploy.box.settings import Settings
from pipeline.dicom import source
from pipeline.errors import DicomError, StorageError
from tests.deploy.box.conftest import instance


class Synced:
    """In place of os.fsync: which paths were, and one that fails once."""

    def __init__(self) -> None:
        self.paths: list[Path] = []
        self.fails: Path | None = None

    def __call__(self, handle: int) -> None:
        path = Path(f"/proc/self/fd/{handle}").readlink()
        if path == self.fails:
            self.fails = None
            raise OSError(errno.EIO, os.strerror(errno.EIO))
        self.paths.append(path)


@pytest.fixture
def synced(monkeypatch: pytest.MonkeyPatch) -> Synced:
    made = Synced()
    monkeypatch.setattr(os, "fsync", made)
    return made


@pytest.fixture
def journal(tmp_path: Path) -> Iterator[Journal]:
    made = Journal(tmp_path / "journal.sqlite")
    yield made
    made.close()


def content(number: int) -> bytes:
    file = BytesIO()
    instance(number).save_as(file, enforce_file_format=True)
    return file.getvalue()


def test_every_folder_above_an_instance_is_on_the_disk(tmp_path: Path, journal: Journal, synced: Synced) -> None:
    incoming = Incoming(tmp_path / "incoming", journal, 0)
    assert synced.paths == [tmp_path, tmp_path / "incoming"]
    row = incoming.keep(content(1), "SCANNER")
    folder = (incoming.folder / row.file).parent
    assert synced.paths[3:] == [incoming.folder, folder]


def test_the_state_and_its_folder_of_results_are_on_the_disk(tmp_path: Path, synced: Synced) -> None:
    state = tmp_path / "state"
    senders = [{"ae_title": "SCANNER", "networks": ["127.0.0.1/32"]}]
    receive = {"ae_title": "MRIBOX", "senders": senders}
    settings = Settings.model_validate({"state": state, "release": tmp_path, "receive": receive})
    made = journal_of(settings)
    assert synced.paths == [tmp_path]
    Outbox(made, state / "results")
    assert synced.paths[1:] == [state]
    made.close()


def test_a_study_folder_that_another_made_is_on_the_disk_too(tmp_path: Path, journal: Journal, synced: Synced) -> None:
    """Its maker's fsync failed, or has not come so far."""
    incoming = Incoming(tmp_path / "incoming", journal, 0)
    synced.fails = incoming.folder
    with pytest.raises(StorageError):
        incoming.keep(content(1), "SCANNER")
    synced.paths.clear()
    incoming.keep(content(2), "SCANNER")
    assert incoming.folder in synced.paths


@pytest.mark.parametrize("group", ["as it should be", "no length", "a wrong length", "long before the syntax"])
def test_what_unpacks_to_more_than_is_bearable_is_refused_unread(
    tmp_path: Path, journal: Journal, monkeypatch: pytest.MonkeyPatch, group: str
) -> None:
    """The parser unpacks a deflated data set whole, however little of it is asked for."""
    made = instance(1)
    made.file_meta.TransferSyntaxUID = DeflatedExplicitVRLittleEndian
    made.add_new(0x00091010, "OB", bytes(1 << 22))
    file = BytesIO()
    made.save_as(file, enforce_file_format=True)
    packed = bytearray(file.getvalue())
    if group == "no length":
        del packed[132:144]
    elif group == "a wrong length":
        packed[140:144] = (8).to_bytes(4, "little")
    elif group == "long before the syntax":
        packed[144:158] = b"\x02\0\x01\0OB\0\0" + (8000).to_bytes(4, "little") + bytes(8000)
    assert len(packed) < 1 << 16
    monkeypatch.setattr(source, "MAX_UNPACKED_BYTES", 1 << 21)
    whole: list[bytes] = []
    monkeypatch.setattr(zlib, "decompress", lambda *_, **__: whole.append(b""))
    with pytest.raises(DicomError, match="beyond the bounds"):
        Incoming(tmp_path / "incoming", journal, 0).keep(bytes(packed), "SCANNER")
    assert whole == []
    assert journal.instances() == []


@pytest.mark.parametrize("failing", ["journal", "disk_usage"])
def test_a_disk_that_cannot_be_read_is_no_reason_to_end(
    tmp_path: Path, journal: Journal, monkeypatch: pytest.MonkeyPatch, failing: str
) -> None:
    def fails(*_: object) -> None:
        raise sqlite3.OperationalError("disk I/O error") if failing == "journal" else OSError(errno.EIO, "EIO")

    incoming = Incoming(tmp_path / "incoming", journal, 0)
    with monkeypatch.context() as patch:
        patch.setattr(*((journal, "instance") if failing == "journal" else (shutil, "disk_usage")), fails)
        with pytest.raises(StorageError):
            incoming.keep(content(1), "SCANNER")
    assert journal.instances() == []


def test_a_journal_that_is_full_keeps_nothing(tmp_path: Path, journal: Journal) -> None:
    incoming, kept = Incoming(tmp_path / "incoming", journal, 0), list[str]()
    with journal.transaction() as database:
        (pages,) = database.execute("PRAGMA page_count").fetchone()
        database.execute(f"PRAGMA max_page_count = {pages + 2}")
    with pytest.raises(StorageError, match="full"):
        kept.extend(incoming.keep(content(each), "SCANNER").sop_instance_uid for each in range(1000))
    assert kept
    assert {each.sop_instance_uid for each in journal.instances()} == set(kept)
    incoming.sweep()
    assert len(list(tmp_path.rglob("*.dcm"))) == len(kept)
