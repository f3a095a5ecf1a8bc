"""The box as scanners and archives meet it: over real associations, from pynetdicom and DCMTK."""

from __future__ import annotations

import errno
import hashlib
import os
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import pydicom
import pytest
from pydicom.uid import CTImageStorage

from deploy.box import scp
from deploy.box.audit import Audit, messages
from deploy.box.trail import Trail
from deploy.box.watch import Watch
from tests.deploy.box.conftest import Receiver, associate, instance
from tests.programs import program

pytestmark = pytest.mark.acceptance
Start = Callable[..., Receiver]


def test_success_means_that_the_file_and_its_row_are_there(receiver: Start) -> None:
    box = receiver()
    sent = instance()
    assert box.send(sent) == [scp.SUCCESS]
    (row,) = box.journal.instances("1.2.3.1")
    path = box.state / "incoming" / row.file
    assert hashlib.sha256(path.read_bytes()).hexdigest() == row.sha256
    assert pydicom.dcmread(path).PixelData == sent.PixelData
    assert row.calling_ae_title == "SCANNER"


def test_no_name_comes_from_the_sender(receiver: Start) -> None:
    box = receiver()
    with pydicom.config.disable_value_validation():
        assert box.send(instance(SOPInstanceUID="../../../../tmp/x")) == [scp.NOT_UNDERSTOOD]
    assert box.journal.instances() == []
    assert box.send(instance()) == [scp.SUCCESS]
    assert not any("1.2.3" in str(path) or "Doe" in str(path) for path in box.state.rglob("*"))


def test_the_same_instance_again_is_taken_and_kept_once(receiver: Start) -> None:
    box = receiver()
    assert box.send(instance(), instance()) == [scp.SUCCESS, scp.SUCCESS]
    assert len(box.journal.instances()) == len(list(box.state.rglob("*.dcm"))) == 1


def test_a_corrected_instance_takes_the_place_of_the_first(receiver: Start) -> None:
    box = receiver()
    assert box.send(instance(), instance(PatientID="P2")) == [scp.SUCCESS, scp.SUCCESS]
    (row,) = box.journal.instances()
    assert [str(path.relative_to(box.state / "incoming")) for path in box.state.rglob("*.dcm")] == [row.file]
    assert pydicom.dcmread(box.state / "incoming" / row.file).PatientID == "P2"


@pytest.mark.parametrize("missing", ["StudyInstanceUID", "SeriesInstanceUID"])
def test_what_cannot_be_placed_is_refused_and_kept_for_a_look(receiver: Start, missing: str) -> None:
    box = receiver()
    bad = instance()
    delattr(bad, missing)
    assert box.send(bad, instance()) == [scp.NOT_UNDERSTOOD, scp.SUCCESS]
    (reason,) = (box.state / "quarantine").glob("*.json")
    assert missing in reason.read_text()
    assert reason.with_suffix(".received").stat().st_size > 8_000


def test_a_disk_that_is_nearly_full_is_said_before_it_is(receiver: Start, monkeypatch: pytest.MonkeyPatch) -> None:
    box = receiver(keep_free_mb=100)
    total, used, _ = shutil.disk_usage("/")
    monkeypatch.setattr(shutil, "disk_usage", lambda _: shutil._ntuple_diskusage(total, used, 99 * 2**20))  # type: ignore[attr-defined]
    assert box.send(instance()) == [scp.NO_RESOURCES]
    assert box.journal.instances() == []


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EIO])
@pytest.mark.parametrize("name", ["fsync", "replace", "open", "write"])
def test_a_disk_that_fails_is_never_acknowledged(
    receiver: Start, monkeypatch: pytest.MonkeyPatch, name: str, number: int
) -> None:
    """Each call of the kind fails once, from the first to the last that one instance takes."""
    box = receiver()
    statuses = []
    for at in range(10):
        failing = Failing(box.state, name, number, at)
        with monkeypatch.context() as patch:
            failing.install(patch)
            (status,) = box.send(instance(at + 1))
        statuses.append(status)
        known = {row.sop_instance_uid for row in box.journal.instances()}
        assert (f"1.2.3.1.1.{at + 1}" in known) == (status == scp.SUCCESS), at
        if not failing.struck:
            break
        assert status == scp.NO_RESOURCES, at
    assert len(statuses) > 1
    assert statuses[-1] == scp.SUCCESS
    box.incoming.sweep()
    assert {str(path.relative_to(box.state / "incoming")) for path in box.state.rglob("*.dcm")} == {
        row.file for row in box.journal.instances()
    }


def test_folders_of_studies_of_which_nothing_is_left_go_at_the_next_start(receiver: Start) -> None:
    box = receiver()
    box.send(instance(), instance(study=2))
    gone, stays = (box.state / "incoming" / box.journal.instances(f"1.2.3.{each}")[0].file for each in (1, 2))
    gone.unlink()
    assert box.incoming.sweep() == 0
    assert not gone.parent.exists()
    assert stays.is_file()
    assert box.send(instance(3)) == [scp.SUCCESS]


class Failing:
    """The call number `at` of a kind below a folder raises an error of the disk."""

    def __init__(self, folder: Path, name: str, number: int, at: int) -> None:
        self.folder, self.name, self.left, self.struck = folder, name, at, False
        self.error = OSError(number, os.strerror(number))

    def strike(self) -> None:
        self.left -= 1
        if self.left == -1:
            self.struck = True
            raise self.error

    def install(self, patch: pytest.MonkeyPatch) -> None:
        real_fsync, real_replace, real_open = os.fsync, Path.replace, open

        def fsync(handle: int) -> None:
            self.strike()
            real_fsync(handle)

        def replace(path: Path, target: Path) -> Path:
            self.strike()
            return real_replace(path, target)

        def opened(path: object, *arguments: object, **named: object) -> object:
            if str(path).startswith(str(self.folder)):
                if self.name == "open":
                    self.strike()
                handle = real_open(path, *arguments, **named)  # type: ignore[call-overload]
                if self.name == "write":
                    return Writing(handle, self.strike)
                return handle
            return real_open(path, *arguments, **named)  # type: ignore[call-overload]

        if self.name == "fsync":
            patch.setattr(os, "fsync", fsync)
        elif self.name == "replace":
            patch.setattr(Path, "replace", replace)
        else:
            patch.setattr("builtins.open", opened)


class Writing:
    """A file whose writes may fail."""

    def __init__(self, handle: object, strike: Callable[[], None]) -> None:
        self._handle, self._strike = handle, strike

    def write(self, content: bytes) -> int:
        self._strike()
        return self._handle.write(content)  # type: ignore[attr-defined, no-any-return]

    def __getattr__(self, name: str) -> object:
        return getattr(self._handle, name)

    def __enter__(self) -> Writing:
        return self

    def __exit__(self, *_: object) -> None:
        self._handle.close()  # type: ignore[attr-defined]


@pytest.mark.parametrize(
    ("calling", "called", "networks"),
    [
        ("STRANGER", "MRIBOX", ["127.0.0.1/32"]),
        ("SCANNER", "OTHER", ["127.0.0.1/32"]),
    ],
)
def test_who_is_not_known_or_meant_is_rejected(receiver: Start, calling: str, called: str, networks: list[str]) -> None:
    box = receiver(senders=[{"ae_title": "SCANNER", "networks": networks}])
    assert associate(box.port, calling, called).is_rejected


def test_a_title_from_elsewhere_is_rejected(receiver: Start) -> None:
    senders = [
        {"ae_title": "SCANNER", "networks": ["10.0.0.0/8"]},
        {"ae_title": "OTHER", "networks": ["127.0.0.0/8"]},
    ]
    box = receiver(senders=senders)
    assert associate(box.port).is_rejected
    other = associate(box.port, "OTHER")
    assert other.is_established
    other.release()


def test_one_more_than_there_is_room_for_is_no_alarm(receiver: Start, tmp_path: Path) -> None:
    trail = tmp_path / "state" / "audit"
    box = receiver(watch=Watch(Trail(Audit(trail, "MRIBOX"), "MRIBOX")), associations=2)
    assert associate(box.port, "STRANGER").is_rejected
    known = []
    while (one := associate(box.port)).is_established:
        known.append(one)
    assert one.is_rejected
    assert 0 < len(known) <= 2
    for each in known:
        each.release()
    alarms = [each for each in messages(trail) if "Security Alert" in each]
    assert len(alarms) == 1
    assert "STRANGER" in alarms[0]


def test_other_kinds_of_objects_are_not_negotiated(receiver: Start) -> None:
    from pynetdicom import AE

    box = receiver()
    entity = AE("SCANNER")
    entity.add_requested_context(CTImageStorage)
    assert entity.associate("127.0.0.1", box.port, ae_title="MRIBOX").is_aborted


def test_dcmtk_sends_and_echoes(receiver: Start, tmp_path: Path) -> None:
    box = receiver()
    for number in range(1, 6):
        instance(number).save_as(tmp_path / f"{number}.dcm", enforce_file_format=True)
    where = ["-aet", "SCANNER", "-aec", "MRIBOX", "127.0.0.1", str(box.port)]
    subprocess.run([program("echoscu"), *where], check=True, timeout=30)
    subprocess.run([program("storescu"), *where, *map(str, tmp_path.glob("*.dcm"))], check=True, timeout=30)
    assert len(box.journal.instances()) == 5
