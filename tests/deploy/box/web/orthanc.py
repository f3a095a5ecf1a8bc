"""A real Orthanc with its DICOMweb plugin, on free loopback ports, which knows the box as a server of DICOMweb."""

from __future__ import annotations

import json
import shutil
import socket
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
import pytest

from tests.waiting import within

_PLUGIN = Path("/usr/share/orthanc/plugins/libOrthancDicomWeb.so")


@contextmanager
def orthanc(folder: Path, box: str, token: str) -> Iterator[httpx.Client]:
    """Runs while the context lasts; gives a client of its REST interface."""
    program = shutil.which("Orthanc", path="/usr/sbin:/usr/bin")
    if program is None or not _PLUGIN.is_file():
        pytest.skip("Orthanc and its DICOMweb plugin are not installed")
    port = _free()
    settings = {
        "StorageDirectory": str(folder / "storage"),
        "IndexDirectory": str(folder / "storage"),
        "HttpPort": port,
        "DicomServerEnabled": False,
        "RemoteAccessAllowed": False,
        "AuthenticationEnabled": False,
        "Plugins": [str(_PLUGIN)],
        "DicomWeb": {"Servers": {"box": {"Url": box, "HttpHeaders": {"Authorization": f"Bearer {token}"}}}},
    }
    (folder / "orthanc.json").write_text(json.dumps(settings))
    with open(folder / "orthanc.log", "wb") as log:
        process = subprocess.Popen([program, str(folder / "orthanc.json")], stdout=log, stderr=log)
        try:
            with httpx.Client(base_url=f"http://127.0.0.1:{port}", trust_env=False, timeout=120) as client:
                assert within(120, lambda: _answers(client)), (folder / "orthanc.log").read_text()
                yield client
        finally:
            process.terminate()
            process.wait(60)


def _answers(client: httpx.Client) -> bool:
    try:
        return client.get("/system").status_code == 200
    except httpx.TransportError:
        return False


def _free() -> int:
    with socket.socket() as line:
        line.bind(("127.0.0.1", 0))
        return int(line.getsockname()[1])
