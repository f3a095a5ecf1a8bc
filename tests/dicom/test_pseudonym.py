from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydicom.uid import UID, ExplicitVRLittleEndian, MRImageStorage

from pipeline.dicom.clock import MOST_DAYS, MOST_SECONDS
from pipeline.dicom.pseudonym import PUBLIC_DEMO_KEY, Pseudonyms, default_key_file, existing_key, load_key, series_of
from pipeline.errors import ConfigError


def test_names_are_stable_and_of_their_form():
    names = Pseudonyms(PUBLIC_DEMO_KEY)
    assert names.patient("MRN-4711") == Pseudonyms(PUBLIC_DEMO_KEY).patient("MRN-4711") == "P-8c38e1296904"
    kinds = (
        (names.study("1.2"), "E"),
        (names.series("1.2"), "S"),
        (names.instance("1.2"), "I"),
        (names.token("a"), "R"),
    )
    for name, letter in kinds:
        assert re.fullmatch(f"{letter}-[0-9a-f]{{12}}", name)


def test_volumes_are_named_after_their_series():
    names = Pseudonyms(PUBLIC_DEMO_KEY)
    assert names.volume("1.2", None) == series_of(names.volume("1.2", 12)) == names.series("1.2")
    assert names.volume("1.2", 12) == f"{names.series('1.2')}-v12"


def test_names_depend_on_the_key_the_kind_and_the_value():
    one, other = Pseudonyms(b"k" * 32), Pseudonyms(b"l" * 32)
    digests = [name[2:] for name in (one.study("1.2"), one.series("1.2"), one.token("1.2"))]
    digests += [one.patient("1.2")[2:], one.patient("1.3")[2:], other.patient("1.2")[2:]]
    assert len(set(digests)) == 6


@given(st.text(st.characters(codec="ascii"), min_size=1, max_size=64), st.binary(min_size=32, max_size=32))
def test_uids_are_valid_stable_and_of_one_key(uid, key):
    made = Pseudonyms(key).uid(uid)
    assert UID(made).is_valid
    assert made.startswith("2.25.")
    assert made == Pseudonyms(key).uid(uid) != Pseudonyms(b"other" + key).uid(uid)
    assert int(made[5:]) < 2**128


def test_uids_are_as_they_were_on_any_machine():
    assert Pseudonyms(PUBLIC_DEMO_KEY).uid("1.2.3") == "2.25.124051684855664591767918666442711379711"


@pytest.mark.parametrize("uid", [MRImageStorage, ExplicitVRLittleEndian, "1.2.840.10008.1.4.1.1"])
def test_uids_of_the_standard_stay(uid):
    assert Pseudonyms(PUBLIC_DEMO_KEY).uid(uid) == uid


def test_clocks_are_of_one_patient_and_key():
    clocks = [Pseudonyms(key).clock(f"MRN-{number}") for key in (b"k" * 32, b"l" * 32) for number in range(500)]
    assert clocks[0] == Pseudonyms(b"k" * 32).clock("MRN-0")
    assert len({(clock.days, clock.seconds) for clock in clocks}) > 990
    assert all(1 <= clock.days <= MOST_DAYS and 1 <= clock.seconds <= MOST_SECONDS for clock in clocks)
    assert max(clock.days for clock in clocks) > 0.95 * MOST_DAYS


def test_key_that_must_be_there(tmp_path):
    with pytest.raises(ConfigError, match=r"the key in .*nowhere; found no such file. Run this on the machine"):
        existing_key(tmp_path / "nowhere")
    assert not (tmp_path / "nowhere").exists()


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
