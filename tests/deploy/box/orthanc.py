"""Orthanc as the hospital's archive, on loopback, empty at each start."""

from __future__ import annotations

import json
import shutil
import socket
import subprocess
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tests.waiting import within

PROGRAM = shutil.which("Orthanc") or shutil.which("Orthanc", path="/usr/sbin:/usr/local/sbin")
PLUGIN = Path("/usr/share/orthanc/plugins/libOrthancDicomWeb.so")
needed = pytest.mark.skipif(PROGRAM is None or not PLUGIN.exists(), reason="Orthanc with DICOMweb is not installed")


def free_port() -> int:
    with socket.socket() as line:
        line.bind(("127.0.0.1", 0))
        return int(line.getsockname()[1])


@dataclass(frozen=True)
class Orthanc:
    """Where it listens; AE title ORTHANC."""

    dicom: int
    http: int

    @property
    def url(self) -> str:
        """Of DICOMweb."""
        return f"http://127.0.0.1:{self.http}/dicom-web"

    def get(self, path: str) -> Any:
        with urllib.request.urlopen(f"http://127.0.0.1:{self.http}{path}", timeout=60) as answer:
            return json.load(answer)

    def stored(self) -> list[str]:
        """SOP instance UIDs, one for each object that it holds."""
        return sorted(each["MainDicomTags"]["SOPInstanceUID"] for each in self.get("/instances?expand"))

    def file(self, sop_instance_uid: str) -> bytes:
        """An object, as it came."""
        (found,) = (
            each["ID"]
            for each in self.get("/instances?expand")
            if each["MainDicomTags"]["SOPInstanceUID"] == sop_instance_uid
        )
        with urllib.request.urlopen(f"http://127.0.0.1:{self.http}/instances/{found}/file", timeout=60) as answer:
            content: bytes = answer.read()
            return content


@contextmanager
def orthanc(folder: Path, box_port: int = 11112, **changes: Any) -> Iterator[Orthanc]:
    """One that knows the box by MRIBOX at that port, until the context ends."""
    assert PROGRAM is not None
    folder.mkdir()
    here = Orthanc(free_port(), free_port())
    settings = {
        "Name": "archive",
        "StorageDirectory": str(folder / "storage"),
        "IndexDirectory": str(folder / "storage"),
        "Plugins": [str(PLUGIN)],
        "DicomAet": "ORTHANC",
        "DicomPort": here.dicom,
        "HttpPort": here.http,
        "RemoteAccessAllowed": False,
        "AuthenticationEnabled": False,
        "DicomModalities": {"box": ["MRIBOX", "127.0.0.1", box_port]},
    }
    (folder / "orthanc.json").write_text(json.dumps(settings | changes))
    with open(folder / "log", "wb") as log:
        server = subprocess.Popen([PROGRAM, str(folder / "orthanc.json")], stdout=log, stderr=log)
        try:
            assert within(120, lambda: answers(here)), (folder / "log").read_text()
            yield here
        finally:
            server.terminate()
            server.wait(60)


def answers(here: Orthanc) -> bool:
    with suppress(OSError):
        return bool(here.get("/system"))
    return False
