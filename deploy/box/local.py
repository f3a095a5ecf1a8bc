"""A PACS and a box on this machine, to try both: `make box`, or `python -m deploy.box.local [RELEASE]`.

Orthanc is the PACS. It passes on every MR series that it receives to the box, and the box sends its answers back. The
box listens on loopback alone. Orthanc listens on every interface and cannot be told otherwise: it answers HTTP requests
of this machine alone, and associations of the box, `DEMO` and `STORESCU` alone, from 127.0.0.1. All of it lies in one
folder. Ctrl-C ends what this started.
"""

from __future__ import annotations

import argparse
import json
import secrets
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import Any

import pydicom
import urllib3
from pynetdicom import AE

from pipeline.errors import ConfigError, DicomError, PipelineError
from pipeline.files import write_text
from pipeline.parent import running
from pipeline.progress import say

RELEASE, SCANS, FOLDER = Path("models/release"), Path("data/demo/dicom"), Path(".box")
PLUGIN = Path("/usr/share/orthanc/plugins/libOrthancDicomWeb.so")
#: In seconds: until a program answers, and until it has ended.
START_S, END_S = 120.0, 60.0
#: Who may send to Orthanc beside the box: this command, and DCMTK's storescu as it names itself.
SENDERS = ("DEMO", "STORESCU")
#: Of Orthanc, in Lua: only images go to the box, not what the box made of them.
FORWARD = """function OnStableSeries(series, tags, metadata)
  if tags['Modality'] == 'MR' then
    RestApiPost('/modalities/box/store', DumpJson({Resources = {series}, Synchronous = false}, true))
  end
end
"""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run until Ctrl-C or SIGTERM; exit 1 with a message where something cannot be had."""
    asked = _parser().parse_args(arguments)
    for number in (signal.SIGINT, signal.SIGTERM):
        # A shell starts what it puts in the background with Ctrl-C ignored.
        signal.signal(number, signal.default_int_handler)
    with ExitStack() as programs, suppress(KeyboardInterrupt):
        try:
            pacs = programs.enter_context(_pacs(asked))
            box = programs.enter_context(_box(asked))
            if asked.scans is not None:
                _send(asked)
        except PipelineError as error:
            say(f"{type(error).__name__}: {error}")
            return 1
        say(f"Send studies: storescu -aec ORTHANC 127.0.0.1 {asked.pacs_port} FILES, such as those of {SCANS}.")
        say(f"They and the answers: http://127.0.0.1:{asked.pacs_http_port} (Orthanc), over DICOMweb at /dicom-web.")
        while box.poll() is None and pacs.poll() is None:
            time.sleep(1.0)
        return 1
    return 0


@contextmanager
def _pacs(asked: argparse.Namespace) -> Iterator[subprocess.Popen[bytes]]:
    program = shutil.which("Orthanc") or shutil.which("Orthanc", path="/usr/sbin:/usr/local/sbin")
    if program is None or not PLUGIN.is_file():
        raise ConfigError("Orthanc with its DICOMweb plugin", "none", "apt-get install orthanc orthanc-dicomweb")
    folder = asked.folder.resolve() / "orthanc"
    folder.mkdir(parents=True, exist_ok=True)
    write_text(folder / "forward.lua", FORWARD)
    settings = {
        "Name": "mri-transfer",
        "StorageDirectory": str(folder / "storage"),
        "IndexDirectory": str(folder / "storage"),
        "Plugins": [str(PLUGIN)],
        "LuaScripts": [str(folder / "forward.lua")],
        "DicomAet": "ORTHANC",
        "DicomPort": asked.pacs_port,
        "HttpPort": asked.pacs_http_port,
        "RemoteAccessAllowed": False,
        "AuthenticationEnabled": False,
        # Without these it takes objects of everybody whom the network lets through.
        "DicomAlwaysAllowStore": False,
        "DicomAlwaysAllowEcho": False,
        "DicomCheckModalityHost": True,
        "DicomModalities": {
            "box": ["MRIBOX", "127.0.0.1", asked.box_port],
            # Nothing is sent to these: their ports are of no matter.
            **{title.lower(): [title, "127.0.0.1", 104] for title in SENDERS},
        },
        "StableAge": 3,
    }
    write_text(folder / "orthanc.json", json.dumps(settings, indent=1))
    with _program([program, str(folder / "orthanc.json")], folder / "log") as server:
        address = f"http://127.0.0.1:{asked.pacs_http_port}/system"
        _await("Orthanc", server, folder / "log", lambda: _answers(address))
        yield server


@contextmanager
def _box(asked: argparse.Namespace) -> Iterator[subprocess.Popen[bytes]]:
    folder, token = asked.folder.resolve() / "box", asked.folder.resolve() / "box" / "token"
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    if not asked.release.is_dir():
        raise ConfigError(f"a release in {asked.release}", "none", "`make demo` makes one.")
    if not token.is_file():
        write_text(token, secrets.token_hex(16) + "\n")
    token.chmod(0o600)
    write_text(folder / "box.toml", _settings(asked, folder))
    command = [sys.executable, "-m", "deploy.box", "serve", str(folder / "box.toml")]
    with _program(command, folder / "log") as box:
        _await("the box", box, folder / "log", lambda: _echoes(asked.box_port))
        say(f"The box: http://127.0.0.1:{asked.web_port}, token {token.read_text().strip()}")
        say(f"Its settings: {folder / 'box.toml'}; its log: {folder / 'log'}")
        yield box


def _settings(asked: argparse.Namespace, folder: Path) -> str:
    return f"""# Of `make box`: plaintext on loopback, and a release that need not be signed; docs/box.md.
state = {json.dumps(str(folder / "state"))}
release = {json.dumps(str(asked.release.resolve()))}
allow_unsigned = true

[receive]
ae_title = "MRIBOX"
port = {asked.box_port}
senders = [{{ ae_title = "ORTHANC", networks = ["127.0.0.1/32"] }}]

[studies]
quiet_s = 5.0

[web]
port = {asked.web_port}
token_file = {json.dumps(str(folder / "token"))}

[[send]]
name = "orthanc"
dicom = {{ ae_title = "ORTHANC", address = "127.0.0.1", port = {asked.pacs_port} }}
"""


@contextmanager
def _program(command: list[str], log: Path) -> Iterator[subprocess.Popen[bytes]]:
    with open(log, "wb") as out, running(command, END_S, out=out) as started:
        yield started


def _await(name: str, program: subprocess.Popen[bytes], log: Path, ready: Callable[[], bool]) -> None:
    until = time.monotonic() + START_S
    while not ready():
        if program.poll() is not None or time.monotonic() > until:
            lines = log.read_text(errors="replace").splitlines()[-5:]
            raise ConfigError(f"{name} to answer", "\n".join(lines) or "nothing", f"See {log}; are its ports free?")
        time.sleep(0.2)


def _answers(address: str) -> bool:
    with suppress(urllib3.exceptions.HTTPError):
        return urllib3.request("GET", address, timeout=5.0, retries=False).status == 200
    return False


def _echoes(port: int) -> bool:
    entity = AE("ORTHANC")
    entity.add_requested_context("1.2.840.10008.1.1")
    association = entity.associate("127.0.0.1", port, ae_title="MRIBOX")
    found = association.is_established
    association.release()
    return found


def _send(asked: argparse.Namespace) -> None:
    """Send the first study of a folder to Orthanc, by its first file.

    Raises:
        DicomError: there is none, or Orthanc did not take it.
    """
    files = sorted(path for path in asked.scans.rglob("*") if path.is_file())
    headers = [(path, pydicom.dcmread(path, specific_tags=["StudyInstanceUID", "SOPClassUID"])) for path in files]
    study = {path: header for path, header in headers if header.StudyInstanceUID == headers[0][1].StudyInstanceUID}
    if not study:
        raise DicomError(f"a study in {asked.scans}", "no file", "Name a folder of DICOM files.")
    entity = AE(SENDERS[0])
    for abstract, transfer in sorted({(each.SOPClassUID, each.file_meta.TransferSyntaxUID) for each in study.values()}):
        entity.add_requested_context(abstract, transfer)
    association = entity.associate("127.0.0.1", asked.pacs_port, ae_title="ORTHANC")
    statuses: list[Any] = [association.send_c_store(path).get("Status") for path in study]
    association.release()
    if set(statuses) != {0}:
        raise DicomError("Orthanc to take a study", f"the statuses {sorted(set(statuses), key=str)}", "See its log.")
    say(f"A study of {len(study)} files was sent to Orthanc; the box's answers will be beside it.")


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m deploy.box.local", description="A PACS and a box, to try both.")
    parser.add_argument("release", type=Path, nargs="?", default=RELEASE, metavar="RELEASE", help="a release folder")
    parser.add_argument("--folder", type=Path, default=FOLDER, metavar="DIR", help="where all of it lies")
    parser.add_argument("--scans", type=Path, metavar="DIR", help="send the first study of this folder to Orthanc")
    parser.add_argument("--pacs-port", type=int, default=4242, metavar="N", help="of Orthanc, for DICOM")
    parser.add_argument("--pacs-http-port", type=int, default=8042, metavar="N", help="of Orthanc, for HTTP")
    parser.add_argument("--box-port", type=int, default=11112, metavar="N", help="of the box, for DICOM")
    parser.add_argument("--web-port", type=int, default=8080, metavar="N", help="of the box's page")
    return parser


if __name__ == "__main__":
    sys.exit(main())
