"""A running box is switched to another release and back: what is under way, waits or comes then is answered once."""

from __future__ import annotations

import os
import signal
import subprocess
import threading
import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pydicom
import pytest
from pydicom.uid import generate_uid

from deploy.box.journal import Journal, Study
from deploy.box.outbox import Outbox
from pipeline.files import sha256_file
from tests import compiled
from tests.acceptance.box_load import worker_of
from tests.deploy.box.archive import Archive, archive
from tests.deploy.box.conftest import associate
from tests.deploy.box.served import command, destination, port_of, serving, write_settings
from tests.deploy.box.test_service import send
from tests.inference.conftest import Maker, SeriesWriter
from tests.waiting import within

pytestmark = pytest.mark.acceptance
#: In seconds, from the command to the first answer by the release before.
ROLLBACK_S = 60
#: Of each of two series of the study that comes meanwhile, for a minute.
SLICES, EVERY_S = compiled.MOST, 0.75


class Scanner(threading.Thread):
    """Sends a study slice by slice, and what is left of it at once when it is to hurry."""

    def __init__(self, port: int, folder: Path) -> None:
        super().__init__(daemon=True)
        self.images = [pydicom.dcmread(path) for path in sorted(folder.iterdir())]
        self.begun, self.hurry, self.statuses = threading.Event(), threading.Event(), list[int | None]()
        self._port = port

    def run(self) -> None:
        association = associate(self._port)
        for image in self.images:
            self.statuses.append(association.send_c_store(image).get("Status"))
            self.begun.set()
            self.hurry.wait(EVERY_S)
        association.release()


@pytest.fixture
def releases(make_release: Maker, tmp_path: Path) -> dict[str, Path]:
    return {"old": make_release(tmp_path / "release"), "new": make_release(tmp_path / "new", "study")}


@pytest.fixture
def pacs() -> Iterator[Archive]:
    with archive() as made:
        yield made


@pytest.fixture
def settings(releases: dict[str, Path], tmp_path: Path, pacs: Archive) -> Path:
    return write_settings(tmp_path, releases["old"], quiet_s=3.0, more=destination("pacs", "PACS", pacs.port))


@pytest.fixture
def scanner(settings: Path, write_series: SeriesWriter, tmp_path: Path) -> Scanner:
    study = generate_uid()
    for number in (4, 5):
        write_series(tmp_path / "comes", number, study=study, slices=SLICES)
    return Scanner(port_of(settings), tmp_path / "comes")


def change(root: Path, settings: Path, to: Path, *asked: str) -> None:
    """By the command, which then says that `to` answers."""
    done = subprocess.run(command("release", settings, *asked), cwd=root, capture_output=True, text=True, check=False)
    assert f"answers   {sha256_file(to / 'SHA256SUMS')[:12]}" in done.stderr, done.stderr


def studies(settings: Path) -> list[Study]:
    """In the order in which they came."""
    with closing(Journal(settings.with_name("state") / "journal.sqlite")) as journal:
        return sorted(journal.studies(), key=lambda study: study.study)


def states(settings: Path) -> list[str]:
    return [study.state for study in studies(settings)]


def test_back_in_under_a_minute_and_nothing_is_lost_or_there_twice(
    root: Path,
    settings: Path,
    releases: dict[str, Path],
    pacs: Archive,
    scanner: Scanner,
    write_series: SeriesWriter,
    tmp_path: Path,
) -> None:
    for number, name in enumerate(("before", "under way", "waits"), start=1):
        write_series(tmp_path / name, number)
    with serving(root, settings) as box:
        assert within(120, lambda: (tmp_path / "state/releases/releases.json").exists())
        change(root, settings, releases["new"], "--switch", str(releases["new"]))
        send(settings, tmp_path / "before")
        assert within(120, lambda: states(settings) == ["answered"])
        # What is under way stays so until the release is another.
        worker = worker_of(box.pid)
        assert worker
        os.kill(worker, signal.SIGSTOP)
        send(settings, tmp_path / "under way")
        assert within(120, lambda: states(settings) == ["answered", "complete"])
        send(settings, tmp_path / "waits")
        scanner.start()
        assert scanner.begun.wait(60)
        began = time.monotonic()
        change(root, settings, releases["old"], "--rollback")
        os.kill(worker, signal.SIGCONT)
        assert within(120, lambda: states(settings)[2] == "answered")
        taken = time.monotonic() - began
        print(f"{taken:.1f} s from the command to the next answer")
        assert taken < ROLLBACK_S
        assert 0 < len(scanner.statuses) < 2 * SLICES
        scanner.hurry.set()
        scanner.join(120)
        assert within(120, lambda: states(settings) == ["answered"] * 4 and len(pacs.stored) == 8)
    require_once(settings, releases, pacs, scanner)


def require_once(settings: Path, releases: dict[str, Path], pacs: Archive, scanner: Scanner) -> None:
    """Each study has one answer, by the release that it met, of all its images; the archive has each result once."""
    old, new = (sha256_file(releases[name] / "SHA256SUMS") for name in ("old", "new"))
    assert [study.release_sha256 for study in studies(settings)] == [new, new, old, old]
    assert [study.revision for study in studies(settings)] == [1] * 4
    assert scanner.statuses == [0] * 2 * SLICES
    with closing(Journal(settings.with_name("state") / "journal.sqlite")) as journal:
        assert len(journal.instances()) == 3 * 8 + 2 * SLICES
        sent = [each.sop_instance_uid for each in Outbox(journal, settings.with_name("state") / "results").deliveries()]
    assert len(set(sent)) == 8
    assert sorted(uid for uid, _ in pacs.stored) == sorted(sent)
