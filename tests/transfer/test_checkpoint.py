"""What a stopped training goes on from: whole, of the same code, and the last one that was written."""

from __future__ import annotations

import errno
import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest
import torch

from pipeline.errors import StorageError, TrainingError
from pipeline.transfer.checkpoint import ABANDONED_DAYS, Checkpoint, remove_abandoned
from pipeline.transfer.train import Material
from tests.stopping import Stop, StopsAfter
from tests.transfer.test_train import PHASES, training
from tests.waiting import within


def test_a_checkpoint_of_other_code_or_cut_short_is_an_error_and_stays(
    tmp_path: Path, backbone_folder: Path, material: Material, monkeypatch: pytest.MonkeyPatch
) -> None:
    job = training(tmp_path, backbone_folder)
    job.checkpoint = StopsAfter(1, tmp_path, "t", [], {"phases": 3})
    with pytest.raises(Stop):
        job.run(material)
    path = job.checkpoint.path
    whole = path.read_bytes()
    with monkeypatch.context() as other:
        other.setattr("pipeline.transfer.checkpoint.training_version", lambda: "another")
        with pytest.raises(TrainingError, match=r"one that other code wrote.*remove .* to train from the start"):
            training(tmp_path, backbone_folder).run(material)
    assert path.read_bytes() == whole
    path.write_bytes(whole[: len(whole) // 2])
    with pytest.raises(TrainingError, match="a file that cannot be read as one"):
        training(tmp_path, backbone_folder).run(material)
    assert path.stat().st_size == len(whole) // 2


def test_a_full_disk_keeps_the_last_checkpoint(
    tmp_path: Path, backbone_folder: Path, material: Material, monkeypatch: pytest.MonkeyPatch
) -> None:
    job, kept = training(tmp_path, backbone_folder, PHASES[2:]), []

    def full(_: int) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    def fill() -> None:
        kept.append(job.checkpoint.path.read_bytes())
        monkeypatch.setattr(os, "fsync", full)

    job.after_epoch = fill
    with pytest.raises(StorageError, match="room on the disk for .*checkpoint"):
        job.run(material)
    assert job.checkpoint.path.read_bytes() == kept[0]
    monkeypatch.undo()
    assert [row["epoch"] for row in training(tmp_path, backbone_folder, PHASES[2:]).run(material).history] == [0, 1, 2]


def test_a_kill_leaves_a_checkpoint_that_can_be_read(tmp_path: Path) -> None:
    code = (
        "import torch;from pathlib import Path;from pipeline.transfer.checkpoint import *;"
        f"c=Checkpoint(Path({str(tmp_path)!r}),'k',[],{{}});print(c.path,flush=True)\n"
        "while True: c.save({'epoch':1,'model':{'w':torch.zeros(200000)}})"
    )
    child = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True)
    assert child.stdout is not None
    path = Path(child.stdout.readline().strip())
    while not path.exists():
        pass
    os.kill(child.pid, signal.SIGKILL)
    child.wait()
    child.stdout.close()
    assert torch.load(path, weights_only=True)["epoch"] == 1


def test_recordings_of_other_code_or_shares_are_not_used(
    tmp_path: Path, backbone_folder: Path, material: Material, monkeypatch: pytest.MonkeyPatch
) -> None:
    folders = set()
    for code, world in (("a" * 64, 1), ("b" * 64, 1), ("b" * 64, 2)):
        monkeypatch.setattr("pipeline.transfer.checkpoint.training_version", lambda code=code: code)
        folders.add(training(tmp_path, backbone_folder).checkpoint.recordings(0, world))
    assert len(folders) == 3
    job = training(tmp_path, backbone_folder, PHASES[1:2])
    job.after_epoch = lambda: stop(list(job.checkpoint.recordings(0, 1).rglob("*.npy")))

    def stop(recorded: list[Path]) -> None:
        assert recorded
        raise Stop

    with pytest.raises(Stop):
        job.run(material)


def test_the_version_is_that_of_the_code_which_trains(
    tmp_path: Path, backbone_folder: Path, material: Material, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whatever is installed over it meanwhile."""
    job = training(tmp_path, backbone_folder, PHASES[:1])
    began = job.checkpoint.code
    monkeypatch.setattr("pipeline.transfer.checkpoint.training_version", lambda: "newer")
    job.run(material)
    assert torch.load(job.checkpoint.path, weights_only=True)["code"] == began


def test_what_nobody_went_on_with_is_removed_and_nothing_else(tmp_path: Path) -> None:
    assert remove_abandoned(tmp_path / "none yet") == []
    for name, days in {"left": ABANDONED_DAYS + 1, "recorded again": ABANDONED_DAYS + 1, "young": 1}.items():
        files = [tmp_path / name / "checkpoint.pt", tmp_path / name / "recordings" / "0.npy"]
        files[1].parent.mkdir(parents=True)
        for file in files:
            file.touch()
        for path in (*files, files[1].parent, tmp_path / name):
            os.utime(path, (time.time() - days * 86_400,) * 2)
    os.utime(tmp_path / "recorded again" / "recordings" / "0.npy")
    assert remove_abandoned(tmp_path) == [tmp_path / "left"]
    assert {path.name for path in tmp_path.iterdir()} == {"recorded again", "young"}


def test_two_trainings_of_the_same_take_turns(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    """Of two clones, say: the first to end removes what the other would go on with."""
    order: list[str] = []

    def second() -> None:
        with Checkpoint(tmp_path / "cache", "t", [], {}).held():
            order.append("second")

    with (
        Checkpoint(tmp_path / "cache", "t", [], {}).held(),
        Checkpoint(tmp_path / "cache", "t", [], {"seed": 2}).held(),
    ):
        other = threading.Thread(target=second)
        other.start()
        assert within(10, lambda: "waits for another training of the same" in capfd.readouterr().err)
        order.append("first")
    other.join(10)
    assert order == ["first", "second"]
