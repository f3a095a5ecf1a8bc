"""A clean clone of the project for one run, with the project's DVC cache; nobody's files are in its way."""

from __future__ import annotations

import fcntl
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import yaml
from dvc.config import Config

from flows.programs import asked, dvc, git, identity
from pipeline.clinical import ledger
from pipeline.dicom.pseudonym import DEMO
from pipeline.errors import ConfigError
from pipeline.files import locked

LEDGER = Path("reports/ledger.csv")
#: Where clones lie unless somebody says otherwise; git and DVC look into neither.
RUNS = Path(".dvc/tmp/runs")
#: Where params.yaml names files; `*`: every entry of a list.
INPUTS = (
    "data.labels",
    "backbone.file",
    "features.candidates.*.file",
    "validate.masks",
    "validate.compare.*.predictions",
    "release.key_file",
)


@contextmanager
def clone(repository: Path, revision: str | None = None, runs: Path | None = None) -> Iterator[Path]:
    """A clone in a folder of its own, which is gone afterwards, however the run ended.

    It shares the repository's DVC cache and remotes, so a stage that was done anywhere is not done again: what a run
    that failed has finished is kept by DVC's run cache, not by its folder, in which patients' data would lie forgotten.
    A folder that a killed run left is removed by the next `clone` of a current state, which takes over the lines of its
    ledger: who was killed after looking at the test set has looked.

    Args:
        repository: of git and DVC, with `.dvc` in its root.
        revision: whatever git can resolve. None: what is checked out, of which then no tracked file may be changed.
        runs: the folder that clones are made in; None: `RUNS` of the repository.

    Raises:
        ConfigError: no such repository or revision; a changed file; or params.yaml names a file that neither git nor
            DVC would bring along.
    """
    source = root(repository)
    commit = resolve(source, revision) if revision else _current(source)
    place = (runs or source / RUNS).resolve()
    place.mkdir(parents=True, exist_ok=True)
    folder, held = _own_folder(place)
    try:
        git(source, "clone", "--quiet", "--no-checkout", str(source), str(folder))
        git(folder, "checkout", "--quiet", "--detach", commit)
        _settle(source, folder)
        _require_inputs(source, folder)
        if revision is None:
            _sweep(place, folder / LEDGER)
        yield folder
    finally:
        shutil.rmtree(folder)
        os.close(held)


def root(repository: Path) -> Path:
    """The absolute folder of a repository of git and DVC.

    Raises:
        ConfigError: it is none.
    """
    folder = repository.resolve()
    top = asked(folder, "rev-parse", "--show-toplevel") if folder.is_dir() else None
    if top is None or Path(top).resolve() != folder or not (folder / ".dvc").is_dir():
        remedy = "Give the folder that holds .git, .dvc and dvc.yaml as `repository`."
        raise ConfigError(f"a repository of git and DVC in {folder}", "none", remedy)
    return folder


def resolve(repository: Path, revision: str) -> str:
    """The commit that a revision means.

    Raises:
        ConfigError: git knows no such revision.
    """
    commit = asked(repository, "rev-parse", "--verify", "--quiet", "--end-of-options", f"{revision}^{{commit}}")
    if commit is None:
        raise ConfigError(f"a revision of git in {repository}", repr(revision), "Name a branch, a tag or a commit.")
    return commit


def _current(source: Path) -> str:
    """The commit that is checked out, if nothing was changed since."""
    changed = git(source, "status", "--porcelain", "--untracked-files=no")
    if changed:
        names = [line.split(maxsplit=1)[1] for line in changed.splitlines()]
        more = f" and {len(names) - 5} more" if len(names) > 5 else ""
        raise ConfigError(
            f"no uncommitted change in {source}: a run is of a commit",
            f"changed: {', '.join(names[:5])}{more}",
            "Commit or stash them, or name a revision.",
        )
    return resolve(source, "HEAD")


def _own_folder(place: Path) -> tuple[Path, int]:
    """A new folder for this user alone, and the descriptor that keeps it from being swept."""
    with locked(place):
        folder = Path(tempfile.mkdtemp(prefix="run-", dir=place))
        held = os.open(folder, os.O_RDONLY)
        fcntl.flock(held, fcntl.LOCK_EX)
    return folder, held


def _sweep(place: Path, into: Path) -> None:
    """Remove the folders of runs that are no more; the lines of their ledgers go `into` this one."""
    with locked(place):  # no folder is made here by others meanwhile
        for folder in sorted(place.glob("run-*")):
            held = os.open(folder, os.O_RDONLY)
            try:
                fcntl.flock(held, fcntl.LOCK_EX | fcntl.LOCK_NB)
                ledger.take_over(folder / LEDGER, into)
                shutil.rmtree(folder)
            except BlockingIOError:
                continue  # of a run that goes on
            finally:
                os.close(held)


def _settle(source: Path, folder: Path) -> None:
    """Cache, remotes and author of the source; what DVC notes about the folder itself goes with it."""
    shared = Config(str(source / ".dvc"))
    with Config(str(folder / ".dvc")).edit("local") as local:
        local["cache"] = {**shared["cache"], "dir": shared["cache"].get("dir") or str(source / ".dvc/cache")}
        local["remote"] = shared["remote"]
        local["core"] = {**shared["core"], "site_cache_dir": str(folder / ".dvc/tmp/site"), "analytics": False}
    for setting in identity(source)[1::2]:
        git(folder, "config", *setting.split("=", 1))
    tracked = git(folder, "ls-files", "*.dvc").splitlines()
    if tracked:
        dvc(folder, "checkout", "--quiet", *tracked)


def _require_inputs(source: Path, folder: Path) -> None:
    """Every file that params.yaml names by a relative path came along, or is one that the demo makes."""
    named = yaml.safe_load((folder / "params.yaml").read_text(encoding="utf-8"))
    for key in INPUTS:
        for path in map(Path, _values(named, key.split("."))):
            demo = path.is_relative_to(DEMO.parent)
            if not (path.is_absolute() or demo or (folder / path).exists()) and (source / path).exists():
                raise ConfigError(
                    f"{key} in params.yaml to name a file that a clone has",
                    f"{path}, which is in neither git nor DVC",
                    "Write its path from the root (/...), or `dvc add` it and commit what that writes.",
                )


def _values(inner: Any, place: list[str]) -> Iterator[str]:
    """The texts that stand at a place of params.yaml."""
    if not place:
        yield from [inner] if isinstance(inner, str) else []
    elif place[0] == "*":
        for each in inner if isinstance(inner, list) else []:
            yield from _values(each, place[1:])
    elif isinstance(inner, dict) and place[0] in inner:
        yield from _values(inner[place[0]], place[1:])
