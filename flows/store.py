"""Where boxes find releases: `<store>/<name>/v1.2.0/`, and `<store>/<name>/production`, a link to one of them.

The link is replaced in one step: whoever reads it, and whenever somebody is killed, finds the old release or the new.
"""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from flows.snapshot import Snapshot
from flows.versions import STAGE, Version
from pipeline import contract
from pipeline.errors import ContractError
from pipeline.files import locked, sha256_file, sync_folder, sync_tree
from pipeline.inference import signature

RELEASE = "models/release"


@contextmanager
def held(store: Path, name: str) -> Iterator[Path]:
    """The folder of one model, in which nobody else moves anything meanwhile."""
    folder = store / name
    folder.mkdir(parents=True, exist_ok=True)
    with locked(folder):
        yield folder


def place(repository: Path, version: Version, folder: Path) -> Path:
    """The release of a version, whole and checked; fetched from git and DVC where it does not lie there yet.

    Args:
        repository: of the project.
        version: of the model.
        folder: of `held`.

    Raises:
        ContractError: a file of it is missing, added or changed, or its manifest is of another version.
        DataError: DVC has it no more.
    """
    for part in folder.glob(".part-*"):  # of somebody who was killed
        shutil.rmtree(part)
    own = folder / f"v{version.version}"
    if not own.is_dir():
        part = Path(tempfile.mkdtemp(prefix=".part-", dir=folder))
        try:
            Snapshot(repository, version.commit).fetch(RELEASE, part / own.name)
            _check(part / own.name, version)
            sync_tree(part / own.name)  # before anybody is led to it
            (part / own.name).rename(own)
        finally:
            shutil.rmtree(part)
    _check(own, version)
    return own


def point(folder: Path, version: Version) -> str:
    """Make `production` name this version, whose release lies in the folder.

    Returns:
        The SHA-256 of its SHA256SUMS, by which a box's copy can be known.
    """
    link = folder / f".{STAGE}.{os.getpid()}"
    link.unlink(missing_ok=True)
    link.symlink_to(f"v{version.version}")
    link.replace(folder / STAGE)
    sync_folder(folder)
    return sha256_file(folder / STAGE / signature.SUMS)


def pointed(folder: Path) -> str | None:
    """The version that `production` names; None before the first."""
    link = folder / STAGE
    return link.readlink().name.removeprefix("v") if link.is_symlink() else None


def _check(release: Path, version: Version) -> None:
    signature.check_sums(release)
    manifest = contract.load(release)
    if (manifest.name, manifest.version) != (version.name, version.version):
        raise ContractError(
            f"a release of {version.tag}",
            f"one of {manifest.name} {manifest.version}",
            "Set release.version before the run that is tagged, as `next_version` says.",
        )
