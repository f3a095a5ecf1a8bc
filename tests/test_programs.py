"""A program that a test needs is found, or its lack is said; where nobody reads what was skipped, that is a failure."""

from __future__ import annotations

import sysconfig
from pathlib import Path

import pytest

from tests.programs import program

ABSENT = "no-program-is-called-so"


def test_the_first_that_is_there_is_taken_and_none_of_a_python_package(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = tmp_path / ABSENT
    made.touch(0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.delenv("CI", raising=False)
    assert program("another", ABSENT, "sh") == str(made)
    monkeypatch.setattr(sysconfig, "get_path", lambda _: str(tmp_path))
    assert Path(program("another", ABSENT, "sh")).name == "sh"
    with pytest.raises(pytest.skip.Exception, match=f"{ABSENT} is not installed"):
        program(ABSENT)


def test_without_it_a_test_skips_and_in_ci_it_fails(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("CI", raising=False)
    with pytest.raises(pytest.skip.Exception, match="another or no-program-is-called-so is not installed"):
        program("another", ABSENT)
    monkeypatch.setenv("CI", "true")
    with pytest.raises(pytest.fail.Exception, match="in CI no test may skip for it"):
        program("another", ABSENT)
