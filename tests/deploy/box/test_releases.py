"""Which release answers is the box's own matter, and nothing gets there that its maker's key does not vouch for."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest

from deploy.box.releases import Releases
from pipeline.errors import ConfigError, ContractError, EngineError, StorageError
from tests.inference.conftest import Maker

pytestmark = pytest.mark.acceptance


def keys(folder: Path) -> tuple[Path, Path]:
    """A private and a public key."""
    folder.mkdir(exist_ok=True)
    private, public = folder / "key.pem", folder / "key.pub"
    subprocess.run(["openssl", "genpkey", "-algorithm", "ed25519", "-out", private], check=True)
    subprocess.run(["openssl", "pkey", "-in", private, "-pubout", "-out", public], check=True)
    return private, public


@pytest.fixture
def maker(make_release: Maker, tmp_path: Path) -> tuple[Path, dict[str, Path]]:
    """The public key, and three releases by its owner: "one" and "two" by series, "three" by slice."""
    private, public = keys(tmp_path)
    kinds = {"one": "series", "two": "study", "three": "slice"}
    return public, {name: make_release(tmp_path / name, level, key_file=private) for name, level in kinds.items()}


@pytest.fixture
def releases(maker: tuple[Path, dict[str, Path]], tmp_path: Path) -> Releases:
    return Releases(tmp_path / "state", maker[0], allow_unsigned=False)


def test_the_settings_release_answers_until_another_is_chosen(
    releases: Releases, maker: tuple[Path, dict[str, Path]]
) -> None:
    _, made = maker
    first = releases.start(made["one"])
    second = releases.switch(made["two"])
    assert second.before == (first.answering,)
    # The same settings say nothing new after a restart; others do.
    assert releases.start(made["one"]).answering == second.answering
    assert releases.start(made["three"]).before == (first.answering, second.answering)


def test_what_answered_goes_on_where_the_folder_of_the_settings_is_gone(
    releases: Releases, maker: tuple[Path, dict[str, Path]], caplog: pytest.LogCaptureFixture
) -> None:
    _, made = maker
    releases.start(made["one"])
    second = releases.switch(made["two"])
    shutil.rmtree(made["one"])
    assert releases.start(made["one"]) == second
    assert "is not there" in caplog.text
    (releases.path(second.answering) / "model.onnx").write_bytes(b"another")
    with pytest.raises(ContractError):
        releases.start(made["one"])


def test_back_is_to_what_answered_before(releases: Releases, maker: tuple[Path, dict[str, Path]]) -> None:
    _, made = maker
    first = releases.start(made["one"])
    releases.switch(made["two"])
    assert releases.rollback().answering == first.answering
    with pytest.raises(ConfigError, match="answered before"):
        releases.rollback()


def test_the_one_in_the_shadow_is_switched_to(releases: Releases, maker: tuple[Path, dict[str, Path]]) -> None:
    _, made = maker
    releases.start(made["one"])
    with pytest.raises(ConfigError, match="in the shadow"):
        releases.switch()
    shadow = releases.shadow(made["two"]).shadow
    chosen = releases.switch()
    assert (chosen.answering, chosen.shadow) == (shadow, None)
    assert releases.shadow(None).shadow is None


def test_what_the_key_does_not_vouch_for_is_never_chosen(
    releases: Releases, maker: tuple[Path, dict[str, Path]], make_release: Maker, tmp_path: Path
) -> None:
    _, made = maker
    first = releases.start(made["one"])
    other, _ = keys(tmp_path / "other")
    for folder in (make_release(tmp_path / "another's", key_file=other), make_release(tmp_path / "unsigned")):
        for change in (releases.switch, releases.shadow):
            with pytest.raises(ContractError):
                change(folder)
    made["two"].joinpath("model.onnx").write_bytes(b"changed")
    with pytest.raises(ContractError):
        releases.switch(made["two"])
    assert releases.chosen() == first
    assert {path.name for path in (tmp_path / "state" / "releases").iterdir()} == {
        ".lock",
        "releases.json",
        first.answering,
    }


def test_a_release_that_was_changed_in_the_state_answers_no_more(
    releases: Releases, maker: tuple[Path, dict[str, Path]]
) -> None:
    _, made = maker
    first = releases.start(made["one"])
    releases.switch(made["two"])
    releases.path(first.answering).joinpath("model.onnx").write_bytes(b"changed")
    with pytest.raises(ContractError):
        releases.rollback()


def test_only_some_are_kept(releases: Releases, maker: tuple[Path, dict[str, Path]], make_release: Maker) -> None:
    _, made = maker
    releases.start(made["one"])
    for name in ("two", "three", "one", "two"):
        chosen = releases.switch(made[name])
    assert len(set(chosen.before)) == len(chosen.before) == 2
    assert all(releases.path(each).is_dir() for each in chosen.before)


def test_the_service_opens_no_release_and_the_commands_try_each(
    releases: Releases, maker: tuple[Path, dict[str, Path]], monkeypatch: pytest.MonkeyPatch
) -> None:
    _, made = maker
    tried: list[Path] = []
    monkeypatch.setattr("deploy.box.releases.opened", lambda folder, *_: tried.append(folder))
    first = releases.start(made["one"])
    assert releases.start(made["one"]) == first
    assert not tried
    for number, change in enumerate((releases.shadow, releases.switch), start=1):
        change(made["two"])
        assert len(tried) == number
    releases.start(made["three"])
    releases.shadow(made["three"])
    assert tried[2:] == [releases.path(releases.chosen().answering)]
    back = releases.rollback()
    assert tried[3:] == [releases.path(back.answering)]


def test_a_release_that_this_machine_cannot_run_is_not_chosen(
    releases: Releases, maker: tuple[Path, dict[str, Path]], monkeypatch: pytest.MonkeyPatch
) -> None:
    _, made = maker
    releases.start(made["one"])
    before = releases.switch(made["three"])

    def cannot(*_: object) -> None:
        raise EngineError("a GPU", "none", "Use another release.")

    monkeypatch.setattr("deploy.box.releases.opened", cannot)
    for change in (releases.shadow, releases.switch):
        with pytest.raises(EngineError):
            change(made["two"])
    with pytest.raises(EngineError):
        releases.rollback()
    assert releases.chosen() == before


def test_no_release_and_no_room_are_said(
    releases: Releases, maker: tuple[Path, dict[str, Path]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    _, made = maker
    with pytest.raises(ContractError, match="no SHA256SUMS"):
        releases.start(tmp_path)

    def full(*_: object, **__: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(shutil, "copytree", full)
    with pytest.raises(StorageError, match="No space"):
        releases.start(made["one"])
    with pytest.raises(ContractError, match="choice of releases"):
        releases.chosen()
