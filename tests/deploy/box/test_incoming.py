"""What must be on the disk before an instance is acknowledged."""

from __future__ import annotations

import errno
import os
from collections.abc import Iterator
from io import BytesIO
from pathlib import Path

import pytest

from deploy.box.incoming import Incoming
from deploy.box.journal import Journal
from deploy.box.outbox import Outbox
from deploy.box.service import journal_of
from deploy.box.settings import Settings
from pipeline.errors import StorageError
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
