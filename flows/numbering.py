"""The number of the release that a run in a clone makes: a new one where something is new, else none."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import yaml

from flows import programs, versions
from pipeline import config, params

#: The first stage that writes the number down; before it runs, it must be known.
FIRST = "validate"
LAST = "release"


def number(here: Path, stages: Sequence[str], force: bool = False) -> None:
    """Set `release.version` of a clone to the next one, if any of these stages would find something changed.

    Args:
        here: the clone, in which everything before the stages is up to date.
        stages: those that are still to run.
        force: they will run even where nothing changed.
    """
    status = json.loads(programs.dvc(here, "status", "--json", *stages))
    if force or any(_changed(each) for changes in status.values() for each in changes):
        path = here / "params.yaml"
        version = versions.next_version(here, config.load(path).release.name)
        params.update(path, [f"release.version={version}"])


def tag(repository: Path, here: Path, commit: str) -> str | None:
    """Tag the commit of a clone with the number that its release bears; None if that release is tagged already."""
    release = config.load(here / "params.yaml").release
    known = [each for each in versions.versions(repository, release.name) if each.version == release.version]
    released = _released((here / "dvc.lock").read_text(encoding="utf-8"))
    if any(_released(programs.git(repository, "show", f"{each.commit}:dvc.lock")) == released for each in known):
        return None
    return versions.tag(repository, commit, release.name, release.version)


def _changed(change: Any) -> bool:
    """Whether an entry of `dvc status` says more than that what the cache holds is not checked out yet."""
    if not isinstance(change, dict):
        return True  # "changed command", "always changed"
    return any(what != "deleted" for what in change.get("changed deps", {}).values())


def _released(lock: str) -> Any:
    """What a dvc.lock says of the release's files; None where it has none."""
    return ((yaml.safe_load(lock) or {}).get("stages", {}).get(LAST) or {}).get("outs")
