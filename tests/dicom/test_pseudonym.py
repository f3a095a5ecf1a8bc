from __future__ import annotations

import re

import pytest

from pipeline.dicom.pseudonym import PUBLIC_DEMO_KEY, Pseudonyms, default_key_file, load_key
from pipeline.errors import ConfigError


def test_names_are_stable_and_of_their_form():
    names = Pseudonyms(PUBLIC_DEMO_KEY)
    assert names.patient("MRN-4711") == Pseudonyms(PUBLIC_DEMO_KEY).patient("MRN-4711") == "P-8c38e1296904"
    for name, letter in ((names.study("1.2"), "E"), (names.series("1.2"), "S"), (names.token("a/b"), "R")):
        assert re.fullmatch(f"{letter}-[0-9a-f]{{12}}", name)


def test_names_depend_on_the_key_the_kind_and_the_value():
    one, other = Pseudonyms(b"k" * 32), Pseudonyms(b"l" * 32)
    digests = [name[2:] for name in (one.study("1.2"), one.series("1.2"), one.token("1.2"))]
    digests += [one.patient("1.2")[2:], one.patient("1.3")[2:], other.patient("1.2")[2:]]
    assert len(set(digests)) == 6


def test_key_is_made_once_readable_by_its_owner_alone(tmp_path, capfd, monkeypatch):
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path))
    path = default_key_file()
    assert path == tmp_path / "mri-transfer/pseudonym.key"
    key = load_key(path)
    assert str(path) in capfd.readouterr().err
    assert len(key) == 32
    assert path.stat().st_mode & 0o777 == 0o600
    assert load_key(path) == key
    assert capfd.readouterr().err == ""


def test_default_place_without_xdg(tmp_path, monkeypatch):
    monkeypatch.delenv("XDG_CONFIG_HOME", raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))
    assert default_key_file() == tmp_path / ".config/mri-transfer/pseudonym.key"


def test_key_that_others_can_read(tmp_path):
    path = tmp_path / "key"
    load_key(path)
    path.chmod(0o644)
    with pytest.raises(ConfigError, match=r"a key that its owner alone may read in .*chmod 600"):
        load_key(path)


@pytest.mark.parametrize("text", ["", "secret", "0" * 63, "g" * 64])
def test_file_that_holds_no_key_is_not_quoted(tmp_path, text):
    path = tmp_path / "key"
    path.touch(0o600)
    path.write_text(text)
    with pytest.raises(ConfigError, match=f"a key of 64 hex digits in .*found {len(text)} characters") as caught:
        load_key(path)
    assert not text or text not in str(caught.value)
