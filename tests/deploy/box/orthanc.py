"""Orthanc as the hospital's archive, on loopback, empty at each start."""

from __future__ import annotations

import json
import subprocess
import urllib.request
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import urllib3

from tests import programs
from tests.ports import free_port
from tests.waiting import within

PLUGIN = Path("/usr/share/orthanc/plugins/libOrthancDicomWeb.so")


@dataclass(frozen=True)
class Orthanc:
    """Where it listens; AE title ORTHANC. With a password, for the user `box`. `pid`: of its process."""

    dicom: int
    http: int
    password: str | None = None
    pid: int = 0

    @property
    def url(self) -> str:
        """Of DICOMweb."""
        return f"http://127.0.0.1:{self.http}/dicom-web"

    def get(self, path: str) -> Any:
        return json.loads(self.read(path))

    def store(self, content: bytes) -> None:
        """An object, as a file of PS3.10."""
        self.read("/instances", "POST", content)

    def delete(self, path: str) -> None:
        self.read(path, "DELETE")

    def read(self, path: str, method: str = "GET", body: bytes | None = None) -> bytes:
        headers = {} if self.password is None else urllib3.make_headers(basic_auth=f"box:{self.password}")
        asked = urllib.request.Request(f"http://127.0.0.1:{self.http}{path}", body, headers, method=method)
        with urllib.request.urlopen(asked, timeout=60) as answer:
            content: bytes = answer.read()
            return content

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
        return self.read(f"/instances/{found}/file")


def installed() -> str:
    """The program; without it or its plugin of DICOMweb the test skips, and in CI it fails."""
    if not PLUGIN.exists():
        programs.missing("Orthanc's plugin of DICOMweb is not installed")
    return programs.program("Orthanc")


@contextmanager
def orthanc(
    folder: Path, box_port: int = 11112, password: str | None = None, servers: Mapping[str, object] | None = None
) -> Iterator[Orthanc]:
    """One that knows the box by MRIBOX at that port, and these servers of DICOMweb, until the context ends."""
    program = installed()
    folder.mkdir()
    here = Orthanc(free_port(), free_port(), password)
    settings = {
        "Name": "archive",
        "StorageDirectory": str(folder / "storage"),
        "IndexDirectory": str(folder / "storage"),
        "Plugins": [str(PLUGIN)],
        "DicomAet": "ORTHANC",
        "DicomPort": here.dicom,
        "HttpPort": here.http,
        "RemoteAccessAllowed": False,
        "AuthenticationEnabled": password is not None,
        "RegisteredUsers": {} if password is None else {"box": password},
        "DicomWeb": {"Servers": dict(servers or {})},
        "DicomModalities": {"box": ["MRIBOX", "127.0.0.1", box_port]},
    }
    (folder / "orthanc.json").write_text(json.dumps(settings))
    with open(folder / "log", "wb") as log:
        server = subprocess.Popen([program, str(folder / "orthanc.json")], stdout=log, stderr=log)
        try:
            assert within(120, lambda: answers(here)), (folder / "log").read_text()
            yield replace(here, pid=server.pid)
        finally:
            server.terminate()
            server.wait(60)


def answers(here: Orthanc) -> bool:
    with suppress(OSError):
        return bool(here.get("/system"))
    return False
