"""The box's settings: one file, and a sentence for each way in which it cannot be used."""

from __future__ import annotations

from pathlib import Path

import pytest

from deploy.box import settings
from deploy.box.__main__ import main
from pipeline.errors import ConfigError
from tests.deploy.box.served import write_settings

WHOLE = """
state = "/var/lib/mri-box"
release = "/srv/mri/release"
public_key = "/etc/mri-box/maker.pem"

[receive]
ae_title = "MRIBOX"
address = "0.0.0.0"
port = 104
senders = [{ ae_title = "PACS", networks = ["10.1.2.0/24"] }]

[receive.tls]
certificate = "/etc/mri-box/box.pem"
key = "/etc/mri-box/box.key"
authorities = "/etc/mri-box/hospital.pem"
"""


def read(folder: Path, text: str) -> settings.Settings:
    (folder / "box.toml").write_text(text)
    return settings.read(folder / "box.toml")


def test_all_of_it(tmp_path: Path) -> None:
    found = read(tmp_path, WHOLE)
    assert found.state == Path("/var/lib/mri-box")
    assert found.receive.port == 104
    assert str(found.receive.senders[0].networks[0]) == "10.1.2.0/24"
    assert found.receive.tls is not None


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("port = 104", "prot = 104", "Did you mean 'port'"),
        ("port = 104", "port = 70000", "receive.port"),
        ("port = 104", "port = [", "Mend the line"),
        ('ae_title = "MRIBOX"', 'ae_title = "A TITLE THAT IS LONG"', "1 to 16 printable ASCII"),
        ('ae_title = "MRIBOX"', 'ae_title = "   "', "1 to 16 printable ASCII"),
        ('ae_title = "MRIBOX"', 'ae_title = "MR\\\\BOX"', "1 to 16 printable ASCII"),
        ('ae_title = "MRIBOX"\n', "", "'receive.ae_title'"),
        ('address = "0.0.0.0"', 'address = "localhost"', "receive.address"),
        ('"10.1.2.0/24"', '"10.1.2.3/24"', "receive.senders.0.networks.0"),
        ('[{ ae_title = "PACS", networks = ["10.1.2.0/24"] }]', "[]", "receive.senders"),
        ('state = "/var/lib/mri-box"', 'state = "box"', "from the root"),
    ],
)
def test_what_is_wrong_is_named(tmp_path: Path, old: str, new: str, message: str) -> None:
    assert old in WHOLE
    with pytest.raises(ConfigError) as raised:
        read(tmp_path, WHOLE.replace(old, new))
    assert message in str(raised.value)


def test_no_file(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="no such file"):
        settings.read(tmp_path / "box.toml")


SEND = """
[[send]]
name = "pacs"
what = ["sr"]
only = "positive"
calling_ae_titles = ["SCANNER"]
retry = { hours = 24 }
[send.dicom]
ae_title = "PACS"
address = "pacs.example.org"
port = 104
[[send]]
name = "web"
[send.stow]
url = "https://pacs.example.org/dicom-web/"
secret_variable = "MRI_BOX_TOKEN"
"""


def test_destinations(tmp_path: Path) -> None:
    pacs, web = read(tmp_path, WHOLE + SEND).send
    assert (pacs.what, pacs.only, pacs.retry.hours) == (("sr",), "positive", 24)
    assert pacs.dicom is not None
    assert (pacs.dicom.ae_title, pacs.dicom.commitment) == ("PACS", False)
    assert web.stow is not None
    assert web.stow.url == "https://pacs.example.org/dicom-web"


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ('name = "web"', 'name = "pacs"', "two destinations have one name"),
        ('name = "web"', 'name = "Web PACS"', "send.1.name"),
        ('what = ["sr"]', 'what = ["kos"]', "send.0.what"),
        ("[send.stow]", "[send.dicom]", "send.1.dicom"),
        ('url = "https://pacs.example.org/dicom-web/"', 'url = "ftp://pacs"', "must be such as https"),
        ("https://pacs", "http://pacs", "over https alone"),
        ("secret_variable =", "user =", "a `user` needs one"),
        ("port = 104\n[[send]]", "port = 104\n[send.stow]\nurl = 'https://a'\n[[send]]", "one of `dicom` and `stow`"),
    ],
)
def test_what_is_wrong_with_a_destination_is_named(tmp_path: Path, old: str, new: str, message: str) -> None:
    assert old in SEND
    with pytest.raises(ConfigError) as raised:
        read(tmp_path, WHOLE + SEND.replace(old, new))
    assert message in str(raised.value)


def test_a_command_of_another_user_than_the_boxs_is_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """What it makes (a day's file of the audit trail, a copy of a release) the box could not read."""
    path = write_settings(tmp_path, tmp_path / "release")
    (tmp_path / "state").mkdir()
    monkeypatch.setattr("os.geteuid", lambda: 12_345)
    compiled = ["compile", str(tmp_path / "release"), "--state", str(tmp_path / "state"), "--allow-unsigned"]
    own = [[command, str(path)] for command in ("studies", "outbox", "release", "audit")]
    for command in (*own, ["fetch", str(path), "pacs", "--study", "1.2"], compiled):
        assert main(command) == 1
        assert "Run it as that user" in capsys.readouterr().err
    assert list((tmp_path / "state").iterdir()) == []
