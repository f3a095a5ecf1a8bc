"""A commit of a clone on its way to a branch of the repository, to which others may have added meanwhile."""

from __future__ import annotations

import subprocess
from pathlib import Path

from flows.programs import asked, git
from pipeline.errors import ConfigError


def push(workspace: Path, commit: str, branch: str) -> None:
    """Push a commit as the end of a branch, merged with what the branch has.

    Args:
        workspace: a clone, in which the commit is checked out, and stays so.
        commit: of it.
        branch: of the repository that it is a clone of; made where it is not there.

    Raises:
        ConfigError: the branch has other changes of the same files, or is checked out with changes; the commit is then
            kept on a branch of its own, which the message names.
    """
    if _pushed(workspace, commit, branch) is None:
        return
    trouble = _pushed_merged(workspace, commit, branch)
    if trouble is None:
        return
    own = f"{branch}-{commit[:12]}"
    again = _pushed(workspace, commit, own)
    kept = f"The run is kept on the branch {own}" if again is None else f"It is kept in {workspace} alone ({again})"
    raise ConfigError(f"the branch {branch} to take a run", trouble, f"{kept}: merge it, nothing is lost.")


def _pushed_merged(workspace: Path, commit: str, branch: str) -> str | None:
    """Merge the branch as it is now and push that; why it cannot be done, or None. `commit` stays checked out."""
    if asked(workspace, "fetch", "--quiet", "origin", branch) is None:
        return f"git cannot fetch {branch}"
    try:
        if asked(workspace, "merge", "--quiet", "--no-edit", "FETCH_HEAD") is None:
            return "other changes of the same files"
        return _pushed(workspace, git(workspace, "rev-parse", "HEAD"), branch)
    finally:
        git(workspace, "checkout", "--quiet", "--force", "--detach", commit)


def _pushed(workspace: Path, commit: str, branch: str) -> str | None:
    """Push a commit as the branch's end; why git did not, or None. A branch that is checked out changes its files."""
    receive = "git -c receive.denyCurrentBranch=updateInstead receive-pack"
    command = ["git", "push", "--quiet", f"--receive-pack={receive}", "origin", f"{commit}:refs/heads/{branch}"]
    done = subprocess.run(command, cwd=workspace, capture_output=True, text=True, check=False)
    return None if done.returncode == 0 else " ".join(done.stderr.split())
