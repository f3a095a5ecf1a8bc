"""The manifest of a folder: equal contents make it equal, whatever else differs, and it opens only what changed."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from pipeline import manifest
from pipeline.dicom.header import find_files
from pipeline.errors import DicomError
from pipeline.manifest import Manifest, manifest_of

NAMES = {"b/1.dcm": b"one", "b/2.dcm": b"two", "a": b"", "c/d/e/DOE^JANE.dcm": b"three"}


@pytest.fixture
def scans(tmp_path: Path) -> Path:
    for name, content in NAMES.items():
        path = tmp_path / "scans" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
    return tmp_path / "scans"


@pytest.fixture
def opened(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Names of the files that were read."""
    seen: list[str] = []

    def sha256_file(path: Path, real: Callable[[Path], str] = manifest.sha256_file) -> str:
        seen.append(path.name)
        return real(path)

    monkeypatch.setattr(manifest, "sha256_file", sha256_file)
    return seen


def of(scans: Path) -> Manifest:
    """With the memory that the tests share."""
    return manifest_of(scans, scans.parent / "memory")


def anew(scans: Path) -> Manifest:
    """Without a memory, which must tell the same."""
    shutil.rmtree(scans.parent / "nothing", ignore_errors=True)
    return manifest_of(scans, scans.parent / "nothing")


def test_it_counts_files_and_bytes(scans: Path) -> None:
    found = of(scans)
    assert (found.files, found.bytes, len(found.sha256)) == (4, 11, 64)


def test_the_same_content_elsewhere_and_at_another_time_is_the_same(scans: Path, tmp_path: Path) -> None:
    elsewhere = tmp_path / "elsewhere"
    for name in reversed(NAMES):
        (elsewhere / name).parent.mkdir(parents=True, exist_ok=True)
        (elsewhere / name).write_bytes(NAMES[name])
        os.utime(elsewhere / name, (1, 1))
    assert manifest_of(elsewhere, tmp_path / "other") == of(scans)


def _rewrite(scans: Path) -> None:
    path = scans / "b/1.dcm"
    status = path.stat()
    path.write_bytes(b"onE")
    os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))  # the change time still tells


def _swap(scans: Path) -> None:
    (scans / "b/1.dcm").rename(scans / "b/3.dcm")
    (scans / "b/2.dcm").rename(scans / "b/1.dcm")
    (scans / "b/3.dcm").rename(scans / "b/2.dcm")


@pytest.mark.parametrize(
    "change",
    [
        _rewrite,
        _swap,
        lambda scans: (scans / "b/3.dcm").write_bytes(b""),
        lambda scans: (scans / "a").unlink(),
        lambda scans: (scans / "a").rename(scans / "A"),
        lambda scans: (scans / "b").rename(scans / "B"),
        lambda scans: (scans / "b/1.dcm").write_bytes(b"one and more"),
    ],
    ids=["one byte", "swapped names", "added", "removed", "renamed", "folder renamed", "grown"],
)
def test_any_change_of_names_or_contents_is_seen(scans: Path, change: Callable[[Path], object]) -> None:
    before = of(scans)
    change(scans)
    after = of(scans)
    assert after.sha256 != before.sha256
    assert after == anew(scans) == of(scans)


def test_nothing_is_opened_twice(scans: Path, opened: list[str]) -> None:
    before = of(scans)
    assert sorted(opened) == ["1.dcm", "2.dcm", "DOE^JANE.dcm", "a"]
    opened.clear()
    assert of(scans) == before
    assert opened == []
    (scans / "b/3.dcm").write_bytes(b"new")
    (scans / "b/2.dcm").touch()
    assert of(scans).files == 5
    assert opened == ["2.dcm", "3.dcm"]
    (scans / "b/3.dcm").unlink()
    opened.clear()
    assert of(scans) == before
    assert opened == []


def test_a_run_that_was_cut_off_goes_on(scans: Path, opened: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(manifest, "SAVE_S", -1)
    content = manifest._content

    def cut(folder: Path, file: manifest._File) -> bytes | None:
        if file.path.endswith(b"2.dcm"):
            raise KeyboardInterrupt
        return content(folder, file)

    with monkeypatch.context() as patch:
        patch.setattr(manifest, "_content", cut)
        with pytest.raises(KeyboardInterrupt):
            of(scans)
    assert opened == ["a", "1.dcm"]
    opened.clear()
    assert of(scans) == anew(scans)
    assert opened[:2] == ["2.dcm", "DOE^JANE.dcm"]


@pytest.mark.parametrize("damage", [lambda content: content[:-7], lambda content: content[:20], lambda content: b""])
def test_a_damaged_memory_costs_reading_alone(scans: Path, damage: Callable[[bytes], bytes]) -> None:
    before = of(scans)
    [memory] = (scans.parent / "memory").iterdir()
    memory.write_bytes(damage(memory.read_bytes()))
    assert of(scans) == before
    (scans / "a").touch()
    memory.write_bytes(damage(memory.read_bytes()))
    assert of(scans) == before


def test_the_memory_holds_no_name_and_is_the_owners_alone(scans: Path) -> None:
    of(scans)
    folder = scans.parent / "memory"
    [memory] = folder.iterdir()
    written = memory.name.encode() + memory.read_bytes()
    assert [word for word in (b"DOE", b"JANE", b"dcm", b"scans") if word in written] == []
    assert folder.stat().st_mode & 0o777 == 0o700


def test_the_files_are_those_that_ingest_finds(scans: Path) -> None:
    (scans / "again").symlink_to(scans / "c")
    (scans / "b/round").symlink_to(scans)
    (scans / "b/one").symlink_to(scans / "b/1.dcm")
    (scans / "gone").symlink_to(scans / "nowhere")
    os.mkfifo(scans / "pipe")
    found = sorted(os.fsencode(path.relative_to(scans)) for path in find_files(scans))
    assert sorted(file.path for file in manifest._files(scans)) == found
    assert of(scans).files == len(found) == 7


def test_what_cannot_be_read_counts_and_is_tried_again(scans: Path, opened: list[str]) -> None:
    before = of(scans)
    (scans / "link").symlink_to(scans / "later")
    os.mkfifo(scans / "pipe")  # would block whoever opens it
    found = of(scans)
    assert found == replace(before, files=6, sha256=found.sha256)
    assert found == of(scans)
    (scans / "later").write_bytes(b"now")
    assert of(scans).bytes == 17
    assert of(scans) == anew(scans)


def test_a_file_that_changes_while_it_is_read_is_read_again(scans: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def growing(path: Path, real: Callable[[Path], str] = manifest.sha256_file) -> str:
        digest = real(path)
        if path.name == "1.dcm":
            path.write_bytes(b"grown")
        return digest

    with monkeypatch.context() as patch:
        patch.setattr(manifest, "sha256_file", growing)
        of(scans)
    assert of(scans) == anew(scans)


def test_names_need_not_be_text(scans: Path) -> None:
    before = of(scans)
    (scans / os.fsdecode(b"\xff\xfe.dcm")).write_bytes(b"x")
    assert of(scans).files == before.files + 1


def test_a_missing_folder_is_named(tmp_path: Path) -> None:
    with pytest.raises(DicomError, match=r"a folder of DICOM at .*/nowhere; found no such folder"):
        manifest_of(tmp_path / "nowhere", tmp_path / "memory")
    assert not (tmp_path / "memory").exists()
