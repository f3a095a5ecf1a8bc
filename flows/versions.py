"""Versions of a model in git: what a run made is committed and pushed; tags in GTO's form say what is which.

`model@v1.2.0` is a version; `model#production#3` puts the version of its commit into production, `model#production!#4`
takes another out, and 3 and 4 say in what order. Tags are only ever added. The form is that of https://dvc.org/doc/gto,
whose commands read it.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

from dvc.config import Config

from flows.branches import push
from flows.programs import asked, dvc, git, identity
from pipeline import config
from pipeline.errors import ConfigError, StorageError

STAGE = "production"
#: What a run leaves beside changes of files that git has: locks of DVC, and figures that DVC leaves to git.
KEPT = (":(glob)**/dvc.lock", ":(glob)reports/*.json")

_VERSION = re.compile(r"(?P<name>.+)@v(?P<version>\d+\.\d+\.\d+)")
_ASSIGNED = re.compile(r"(?P<name>.+)#(?P<stage>[^#!]+)(?P<out>!?)#(?P<count>\d+)")
#: What GTO takes for a name.
_NAME = re.compile(r"[a-zA-Z0-9]([a-zA-Z0-9_/-]*[a-zA-Z0-9])?")


@dataclass(frozen=True)
class Version:
    """A version that is tagged: its number, such as `1.2.0`, and its commit."""

    name: str
    version: str
    commit: str

    @property
    def tag(self) -> str:
        """The tag's name."""
        return f"{self.name}@v{self.version}"


def keep(workspace: Path, branch: str, message: str, only: Path | None = None) -> str:
    """Commit what a run made to a branch of the repository that `workspace` is a clone of.

    Call it also for a run that failed in `validate` or after it: its line in the ledger must not be lost. Where
    somebody else has added to the branch meanwhile, both are merged; the commit that is returned is the run's own. The
    branch may be checked out there, with nothing changed: its files then change. A second call changes nothing more.

    Args:
        workspace: of `flows.workspace.clone`.
        branch: made where it is not there.
        message: of the commit.
        only: the one file of git that is committed; changes of others in `workspace` are thrown away. None: all.

    Returns:
        The commit, by which a release can be tagged.

    Raises:
        ConfigError: no name of a branch; or the branch has other changes of the same files, or is checked out with
            changes: the commit is then kept on a branch that the message names.
    """
    if asked(workspace, "check-ref-format", "--branch", branch) is None:
        raise ConfigError("the name of a branch", repr(branch), "Use letters, digits, `-`, `_` and `/`.")
    git(workspace, "add", "--update", *(["--", str(only)] if only else []))
    new = [] if only else git(workspace, "ls-files", "--others", "--exclude-standard", "--", *KEPT).splitlines()
    if new:
        git(workspace, "add", "--", *new)
    if asked(workspace, "diff", "--cached", "--quiet") is None:
        git(workspace, "commit", "--quiet", "--no-verify", "--message", message)
    if only:
        git(workspace, "reset", "--quiet", "--hard")
    commit = git(workspace, "rev-parse", "HEAD")
    push(workspace, commit, branch)
    return commit


def push_data(workspace: Path, commit: str, branch: str) -> None:
    """Push the data of a commit that was kept to DVC's default remote, if there is one; else it stays in the cache.

    Raises:
        StorageError: the remote is away: the data is in DVC's cache.
    """
    remote = Config(str(workspace / ".dvc"))["core"].get("remote")
    if remote is None:
        return
    try:
        dvc(workspace, "push", "--quiet", "--run-cache")
    except StorageError as error:
        raise StorageError(
            f"DVC's remote {remote!r} to take the data of {commit[:12]}",
            error.found,
            f"Nothing is lost: the commit is on {branch}, its data in DVC's cache. When the remote is back, `dvc push` "
            "with that branch checked out, or start `retrain` again.",
        ) from error


def versions(repository: Path, name: str) -> list[Version]:
    """All versions of a model, the lowest first."""
    found = [(match, commit) for tag, commit in _tags(repository) if (match := _VERSION.fullmatch(tag))]
    known = [Version(name, match["version"], commit) for match, commit in found if match["name"] == name]
    return sorted(known, key=lambda each: _number(each.version))


def find(repository: Path, name: str, version: str) -> Version:
    """A version by its number, with or without `v`, or by its whole tag.

    Raises:
        ConfigError: it is not there; the message names those that are.
    """
    wanted = version.removeprefix(f"{name}@").removeprefix("v")
    known = versions(repository, name)
    for each in known:
        if each.version == wanted:
            return each
    there = ", ".join(each.tag for each in known[-5:]) or "none"
    raise ConfigError(f"a version of {name} in {repository}", repr(version), f"The last ones there: {there}.")


def next_version(repository: Path, name: str) -> str:
    """The number of the next release: the last one's with a minor step; what params.yaml says where that is higher.

    So runs count on by themselves, and a person who wants 2.0.0 writes it in params.yaml.

    Args:
        repository: or a clone of it.
        name: of the model, `release.name` in params.yaml.

    Raises:
        ConfigError: a name that GTO does not take.
    """
    _require_name(name)
    asked_for = config.load(repository / "params.yaml").release.version
    known = versions(repository, name)
    if not known:
        return asked_for
    major, minor, _ = _number(known[-1].version)
    return max(asked_for, f"{major}.{minor + 1}.0", key=_number)


def tag(repository: Path, commit: str, name: str, version: str) -> str:
    """Tag a commit as a version of a model.

    Raises:
        ConfigError: a name that GTO does not take; a version that is there already, or whose commit is one already.
        DataError: no such commit.
    """
    _require_name(name)
    made = Version(name, version, commit)
    for each in versions(repository, name):
        if each.version == version or each.commit == commit:
            raise ConfigError(
                f"{made.tag} at {commit[:12]} to be new", f"{each.tag} at {each.commit[:12]}", "Count on."
            )
    _annotate(repository, made.tag, commit, f"{name} {version}")
    return made.tag


def history(repository: Path, name: str) -> list[Version]:
    """The versions that were in production, in their order; one that was put back stands there again."""
    by_commit = {each.commit: each for each in versions(repository, name)}
    moves = _moves(repository, name)
    return [by_commit[commit] for _, out, commit in moves if commit in by_commit and not out]


def production(repository: Path, name: str) -> Version | None:
    """The version that is in production; None before the first."""
    known = history(repository, name)
    return known[-1] if known else None


def before(repository: Path, name: str) -> Version | None:
    """What was in production before what is there now; None if nothing was.

    A version that was put back takes what had come after it away, so going back twice goes back two steps.
    """
    steps: list[Version] = []
    for version in history(repository, name):
        steps = [*steps[: steps.index(version)], version] if version in steps else [*steps, version]
    return steps[-2] if len(steps) > 1 else None


def assign(repository: Path, version: Version, message: str) -> str:
    """Tag a version as the one in production from now on, and what was there as no longer; `message` says why.

    Returns:
        The tag that puts it there.
    """
    moves = _moves(repository, version.name)
    standing = {commit: out for _, out, commit in moves}  # the last word on each
    leaving = [commit for commit, out in standing.items() if not out and commit != version.commit]
    count = max((count for count, *_ in moves), default=0) + 1
    made = f"{version.name}#{STAGE}#{count}"
    # The new one first: from then on it is the one, whenever this is stopped.
    _annotate(repository, made, version.commit, message)
    for place, commit in enumerate(leaving, start=count + 1):
        _annotate(repository, f"{version.name}#{STAGE}!#{place}", commit, message)
    return made


def _moves(repository: Path, name: str) -> list[tuple[int, bool, str]]:
    """What went into production or out of it: number, whether out, and commit; in order."""
    found = [(match, commit) for tag, commit in _tags(repository) if (match := _ASSIGNED.fullmatch(tag))]
    own = [(match, commit) for match, commit in found if (match["name"], match["stage"]) == (name, STAGE)]
    return sorted((int(match["count"]), bool(match["out"]), commit) for match, commit in own)


def _annotate(repository: Path, tag: str, commit: str, message: str) -> None:
    git(repository, *identity(repository), "tag", "--annotate", "--message", message, tag, commit)


def _require_name(name: str) -> None:
    if not _NAME.fullmatch(name):
        remedy = "Use letters, digits, `-`, `_` and `/` in release.name."
        raise ConfigError("a name of a model that can stand in a tag", repr(name), remedy)


def _tags(repository: Path) -> list[tuple[str, str]]:
    """Every annotated tag, and the commit that it names."""
    listed = git(repository, "for-each-ref", "--format=%(refname:strip=2) %(*objectname)", "refs/tags")
    return [(name, commit) for name, _, commit in (line.partition(" ") for line in listed.splitlines()) if commit]


def _number(version: str) -> tuple[int, int, int]:
    major, minor, patch = map(int, version.split("."))
    return major, minor, patch
