"""What an administrator copies: settings that are valid, a unit that systemd takes, containers without privileges."""

from __future__ import annotations

import configparser
import re
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

from deploy.box import settings
from tests.programs import program


@pytest.fixture
def install(root: Path) -> Path:
    return root / "deploy/box/install"


@pytest.mark.parametrize("name", ["box.toml", "compose.toml"])
def test_settings_are_valid(install: Path, name: str) -> None:
    found = settings.read(install / name)
    assert found.receive.senders
    assert found.web is not None


def test_only_the_example_beside_orthanc_takes_an_unsigned_release(install: Path) -> None:
    assert settings.read(install / "box.toml").public_key is not None
    assert not settings.read(install / "box.toml").allow_unsigned


def test_every_line_of_the_settings_that_is_commented_out_is_valid_too(install: Path, tmp_path: Path) -> None:
    path = tmp_path / "box.toml"
    # A key with its value, or a table; all else is words.
    path.write_text(re.sub(r"^# (?=\w+ = |\[)", "", (install / "box.toml").read_text(), flags=re.MULTILINE))
    found = settings.read(path)
    assert found.receive.tls is not None
    assert found.audit.syslog is not None
    assert found.audit.syslog.tls is not None


def test_the_unit_stops_no_study_in_the_midst_of_it(install: Path) -> None:
    unit = configparser.ConfigParser(strict=False, interpolation=None)
    unit.optionxform = str  # type: ignore[assignment,method-assign]
    unit.read(install / "mri-box.service")
    assert float(unit["Service"]["TimeoutStopSec"]) > settings.Work().study_s
    assert unit["Service"]["ExecStart"].endswith("deploy.box serve /etc/mri-box/box.toml")


def test_systemd_takes_the_unit(install: Path, tmp_path: Path) -> None:
    text = (install / "mri-box.service").read_text().replace("/opt/mri-box/.venv/bin/python", "/usr/bin/env")
    done = verified(tmp_path, text)
    assert (done.returncode, done.stderr) == (0, "")
    for line, mistyped in (("UMask=", "UMsak="), ("ProtectSystem=strict", "ProtectSystem=strickt")):
        done = verified(tmp_path, text.replace(line, mistyped))
        assert done.returncode != 0
        assert "mri-box.service:" in done.stderr


def verified(folder: Path, text: str) -> subprocess.CompletedProcess[str]:
    """A unit by systemd's own check, which fails for what it says of this one, not of those that it depends on."""
    unit = folder / "mri-box.service"
    unit.write_text(text)
    command = [program("systemd-analyze"), "verify", "--man=no", "--recursive-errors=no", unit]
    return subprocess.run(command, capture_output=True, text=True, check=False)


def _compose(install: Path) -> dict[str, Any]:
    loaded: dict[str, Any] = yaml.safe_load((install / "compose.yaml").read_text())
    return loaded


def test_the_container_has_no_privileges_and_a_file_system_that_is_read_only(install: Path) -> None:
    box = _compose(install)["services"]["box"]
    assert box["read_only"] is True
    assert box["cap_drop"] == ["ALL"]
    lines = (install / "Dockerfile").read_text().splitlines()
    user = next(line for line in lines if line.startswith("USER"))
    assert not user.split()[1].startswith(("0", "root"))
    assert lines.index(user) < next(place for place, line in enumerate(lines) if line.startswith("ENTRYPOINT"))


def test_nothing_is_published_beyond_loopback(install: Path) -> None:
    ports = [port for service in _compose(install)["services"].values() for port in service.get("ports", [])]
    assert ports
    assert all(port.startswith("127.0.0.1:") for port in ports)


def test_box_and_orthanc_know_each_other(install: Path) -> None:
    services, known = _compose(install)["services"], settings.read(install / "compose.toml")
    addresses = {name: service["networks"]["hospital"]["ipv4_address"] for name, service in services.items()}
    (sender,) = known.receive.senders
    assert [str(network) for network in sender.networks] == [f"{addresses['orthanc']}/32"]
    assert (
        f'["{known.receive.ae_title}", "{addresses["box"]}", {known.receive.port}]'
        in (services["orthanc"]["environment"]["ORTHANC__DICOM_MODALITIES"])
    )
    assert known.send[0].dicom is not None
    assert known.send[0].dicom.address == addresses["orthanc"]
