"""`python -m deploy.box serve`, as systemd starts and stops it."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pydicom
import pytest

from deploy.box.journal import Journal
from tests.deploy.box.conftest import associate
from tests.deploy.box.served import command, port_of, serving, write_settings
from tests.inference.conftest import Maker, SeriesWriter
from tests.ports import listens
from tests.waiting import within

pytestmark = pytest.mark.acceptance


@pytest.fixture
def collector() -> Iterator[socket.socket]:
    """Of audit messages, over UDP."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as line:
        line.bind(("127.0.0.1", 0))
        line.settimeout(60)
        yield line


@pytest.fixture
def settings(make_release: Maker, tmp_path: Path, collector: socket.socket) -> Path:
    port = collector.getsockname()[1]
    more = f'[audit]\nsyslog = {{ address = "127.0.0.1", port = {port} }}'
    return write_settings(tmp_path, make_release(tmp_path / "release"), more=more)


def send(settings: Path, folder: Path) -> None:
    """All files, once the box listens."""
    port = port_of(settings)
    assert within(60, lambda: listens(port)), settings.with_name("box.log").read_text()
    association = associate(port)
    for path in sorted(folder.iterdir()):
        assert association.send_c_store(pydicom.dcmread(path)).Status == 0
    association.release()


def of_journal(settings: Path) -> list[tuple[str, str]]:
    journal = Journal(settings.with_name("state") / "journal.sqlite")
    try:
        return [(study.state, study.predictions) for study in journal.studies()]
    finally:
        journal.close()


def states(settings: Path) -> list[str]:
    return [state for state, _ in of_journal(settings)]


def test_a_study_is_received_and_answered_and_the_box_stops_when_asked(
    root: Path, settings: Path, write_series: SeriesWriter, tmp_path: Path, collector: socket.socket
) -> None:
    series = write_series(tmp_path / "study", 1)
    with serving(root, settings) as box:
        send(settings, tmp_path / "study")
        assert within(60, lambda: of_journal(settings)[0][0] == "answered")
        box.send_signal(signal.SIGTERM)
        assert box.wait(20) == 0
    (found,) = json.loads(of_journal(settings)[0][1])
    assert (found["SeriesInstanceUID"], found["status"]) == (series, "ok")
    (kept,) = settings.with_name("state").joinpath("results").glob("000001-1-sr-*.dcm")
    report = pydicom.dcmread(kept)
    assert (report.PatientName, report.StudyInstanceUID) == ("Doe^Jane", found["StudyInstanceUID"])
    log = settings.with_name("box.log").read_text()
    assert "study 1, revision 1: answered from 8 instances" in log
    assert series not in log
    assert "Doe" not in log
    shown = subprocess.run(command("studies", settings), cwd=root, capture_output=True, text=True, check=True)
    assert "answered" in shown.stderr
    assert b"Application Start" in collector.recv(65_535)


def test_a_study_that_came_before_a_kill_is_answered_after_it(
    root: Path, settings: Path, write_series: SeriesWriter, tmp_path: Path
) -> None:
    write_series(tmp_path / "study", 1)
    with serving(root, settings):
        send(settings, tmp_path / "study")
    with serving(root, settings):
        assert within(60, lambda: of_journal(settings)[0][0] == "answered")


_ENDS = """
import sys
from deploy.box import __main__, studies

def fails(*_):
    raise KeyError("Doe^Jane")

studies.Answering._settle = fails
sys.exit(__main__.main(["serve", sys.argv[1]]))
"""


def test_a_box_of_which_a_thread_has_ended_ends_and_the_next_goes_on(
    root: Path, settings: Path, write_series: SeriesWriter, tmp_path: Path
) -> None:
    write_series(tmp_path / "study", 1)
    with serving(root, settings, sys.executable, "-c", _ENDS, str(settings)) as box:
        send(settings, tmp_path / "study")
        assert box.wait(120) == 1
    log = settings.with_name("box.log").read_text()
    assert "answer has ended by KeyError" in log
    assert "WorkerError: expected every thread of the box at work; found ended: answer" in log
    assert "Doe" not in log
    with serving(root, settings):
        assert within(120, lambda: states(settings) == ["answered"]), settings.with_name("box.log").read_text()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda text: text.replace("allow_unsigned = true", ""), "the public key of the release's maker"),
        (lambda text: text.replace("quiet_s", "quite_s"), "Did you mean 'quiet_s'"),
        (lambda text: text.replace('ae_title = "MRIBOX"', 'ae_title = "MRIBOX"\naddress = "192.0.2.1"'), "to listen"),
    ],
)
def test_what_cannot_be_served_is_said_at_the_start(
    root: Path, settings: Path, change: Callable[[str], str], message: str
) -> None:
    settings.write_text(change(settings.read_text()))
    done = subprocess.run(command("serve", settings), cwd=root, capture_output=True, text=True, timeout=60)
    assert done.returncode == 1
    assert message in done.stderr
    assert "Traceback" not in done.stderr


def test_two_boxes_do_not_share_a_state(root: Path, settings: Path) -> None:
    with serving(root, settings):
        assert within(60, lambda: (settings.with_name("state") / ".lock").exists())
        done = subprocess.run(command("serve", settings), cwd=root, capture_output=True, text=True, timeout=60)
    assert done.returncode == 1
    assert "no other box" in done.stderr


def test_no_training_library_is_needed(root: Path) -> None:
    code = (
        "import sys; from deploy.box import service; "
        "print(sorted({'torch', 'onnx', 'yaml', 'dvc', 'prefect'} & sys.modules.keys()))"
    )
    environment = {**os.environ, "PYTHONPATH": str(root)}
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, env=environment)
    assert found.stdout.strip() == "[]"
