"""`make box`: a study that is sent to the PACS is answered there, as any DICOMweb client sees."""

from __future__ import annotations

import json
import re
import signal
import stat
import subprocess
import sys
from pathlib import Path
from typing import Any

import pydicom
import pytest
from pynetdicom import AE
from pynetdicom.sop_class import Verification  # type: ignore[attr-defined]

from pipeline.errors import ConfigError
from tests.deploy.box.orthanc import Orthanc, installed
from tests.inference.conftest import Maker, SeriesWriter
from tests.ports import free_port
from tests.programs import program
from tests.waiting import within

pytestmark = pytest.mark.acceptance


def modalities(pacs: Orthanc, study: str) -> dict[str, list[dict[str, Any]]]:
    """The series of a study by modality, as QIDO-RS tells them."""
    found: dict[str, list[dict[str, Any]]] = {}
    for series in pacs.get(f"/dicom-web/studies/{study}/series") if pacs.stored() else []:
        found.setdefault(series["00080060"]["Value"][0], []).append(series)
    return found


def test_a_study_sent_to_the_pacs_has_its_report_and_summary_there(
    root: Path, make_release: Maker, write_series: SeriesWriter, tmp_path: Path
) -> None:
    installed()
    write_series(tmp_path / "scans", 1)
    study = str(pydicom.dcmread(next((tmp_path / "scans").iterdir())).StudyInstanceUID)
    pacs = Orthanc(free_port(), free_port())
    command = [sys.executable, "-m", "deploy.box.local", str(make_release(tmp_path / "release"))]
    command += ["--folder", str(tmp_path / "box"), "--scans", str(tmp_path / "scans")]
    command += ["--pacs-port", str(pacs.dicom), "--pacs-http-port", str(pacs.http), "--box-port", str(free_port())]
    command += ["--web-port", str(free_port())]
    with open(tmp_path / "log", "wb") as log:
        both = subprocess.Popen(command, cwd=root, stdout=log, stderr=log)
    try:
        assert within(120, lambda: "was sent" in (tmp_path / "log").read_text()), (tmp_path / "log").read_text()
        assert within(120, lambda: {"MR", "SR", "OT"} <= modalities(pacs, study).keys())
        counts = {name: series[0]["00201209"]["Value"][0] for name, series in modalities(pacs, study).items()}
        assert counts == {"MR": 8, "SR": 1, "OT": 1}
        titles = ("DEMO", "STORESCU", "OTHER", "ORTHANC")
        assert [title for title in titles if _echoes(pacs, title)] == ["DEMO", "STORESCU"]
        # As from another machine.
        assert not _echoes(pacs, "DEMO", "127.0.0.2")
        (advised,) = re.findall("storescu -aec ORTHANC 127.0.0.1 [0-9]+", (tmp_path / "log").read_text())
        write_series(tmp_path / "more", 2)
        sent = [program("storescu"), *advised.split()[1:], *(tmp_path / "more").iterdir()]
        subprocess.run(sent, check=True, timeout=120)
        assert within(120, lambda: len(pacs.get("/studies")) == 2)
    finally:
        both.send_signal(signal.SIGINT)
        assert both.wait(90) == 0
    assert not within(1, lambda: _listens(pacs))
    assert json.loads((tmp_path / "box" / "orthanc" / "orthanc.json").read_text())["RemoteAccessAllowed"] is False
    assert stat.S_IMODE((tmp_path / "box" / "box" / "token").stat().st_mode) == 0o600


def _listens(pacs: Orthanc) -> bool:
    try:
        return bool(pacs.get("/system"))
    except OSError:
        return False


def _echoes(pacs: Orthanc, title: str, address: str = "127.0.0.1") -> bool:
    """Whether Orthanc answers an association by this title, from this address."""
    entity = AE(title)
    entity.add_requested_context(Verification)
    association = entity.associate("127.0.0.1", pacs.dicom, ae_title="ORTHANC", bind_address=(address, 0))
    answered = association.is_established and association.send_c_echo().get("Status") == 0
    association.release()
    return answered


def test_what_is_missing_is_named(root: Path, tmp_path: Path) -> None:
    installed()
    ports = ["--pacs-port", str(free_port()), "--pacs-http-port", str(free_port()), "--box-port", str(free_port())]
    command = [sys.executable, "-m", "deploy.box.local", str(tmp_path / "none"), "--folder", str(tmp_path / "box")]
    done = subprocess.run([*command, *ports], cwd=root, capture_output=True, text=True, timeout=200)
    assert done.returncode == 1
    assert f"{ConfigError.__name__}: expected a release" in done.stderr
    assert "make demo" in done.stderr
