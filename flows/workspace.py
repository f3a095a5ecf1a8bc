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
from pipeline.errors import ConfigError, LedgerError
from pipeline.files import locked, sync_folder

LEDGER = Path("reports/ledger.csv")
#: Where clones lie unless somebody says otherwise; git and DVC look into neither.
RUNS = Path(".dvc/tmp/runs")
#: Beside the clones: the ledger of all that runs looked at before their folders went, so that none is lost.
LOOKS = "ledger.csv"
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
    A folder that a killed run left is removed by the next `clone`. Before a folder goes, what its run wrote into the
    ledger is kept beside it, for `recover_looks`: who looked at the test set has looked, however the run ended.

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
    _sweep(place)
    folder, held = _own_folder(place)
    try:
        git(source, "clone", "--quiet", "--no-checkout", str(source), str(folder))
        git(folder, "checkout", "--quiet", "--detach", commit)
        _settle(source, folder)
        _require_inputs(source, folder)
        yield folder
    finally:
        with locked(place):  # nobody sweeps here meanwhile
            if looked(folder, commit):
                _save_looks(folder)
            shutil.rmtree(folder)
        os.close(held)


def looked(workspace: Path, since: str = "HEAD") -> bool:
    """Whether the ledger of a clone differs from what a commit has of it."""
    return asked(workspace, "diff", "--quiet", since, "--", str(LEDGER)) is None


def recover_looks(workspace: Path) -> list[Path]:
    """Add to a clone's ledger the lines of runs whose folders are gone, for it to commit; those it has are left out.

    Returns:
        Ledgers of killed runs that are damaged, and therefore not in it.

    Raises:
        LedgerError: the clone's own is damaged, or `LOOKS` is.
    """
    place = workspace.parent
    with locked(place):
        if (place / LOOKS).is_file():
            ledger.take_over(place / LOOKS, workspace / LEDGER)
        return sorted(place.glob("damaged-*.csv"))


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


def _sweep(place: Path) -> None:
    """Remove the folders of runs that are no more."""
    with locked(place):  # no folder is made here by others meanwhile
        for folder in sorted(place.glob("run-*")):
            held = os.open(folder, os.O_RDONLY)
            try:
                fcntl.flock(held, fcntl.LOCK_EX | fcntl.LOCK_NB)
                _save_looks(folder)
                shutil.rmtree(folder)
            except BlockingIOError:
                continue  # of a run that goes on
            finally:
                os.close(held)


def _save_looks(folder: Path) -> None:
    """Keep the lines of a clone's ledger beside the clone; all of a ledger that is damaged, in a file of its own."""
    place, own = folder.parent, folder / LEDGER
    if not own.is_file():
        return
    try:
        ledger.take_over(own, place / LOOKS)
    except LedgerError:
        own.replace(place / f"damaged-{folder.name}.csv")
    sync_folder(place)


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
