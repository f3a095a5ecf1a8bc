"""The DAG as DVC knows it, and one stage of it run as a child process whose lines arrive one by one."""

from __future__ import annotations

import json
import math
import os
import re
import signal
import subprocess
import sys
import threading
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from enum import Enum
from graphlib import TopologicalSorter
from pathlib import Path

from flows.programs import dvc
from pipeline.errors import ConfigError, PipelineError, StorageError
from pipeline.parent import WITH_THIS

#: Seconds that a child has between SIGTERM and SIGKILL.
GRACE_S = 5.0

#: Last lines of a stage's output that stand in for its error when it left none.
TAIL_LINES = 5

_EDGE = re.compile(r'^"(?P<node>[^"]+)"(?: -> "(?P<child>[^"]+)")?;$')


class Outcome(Enum):
    """What DVC did for a stage, each with what it prints then."""

    RAN = "ran", "Running stage "
    UNCHANGED = "unchanged", "didn't change, skipping"
    RESTORED = "restored from DVC's cache", "is cached - skipping run"

    def __init__(self, words: str, sign: str) -> None:
        self.words, self.sign = words, sign


class StageError(PipelineError):
    """A stage failed under DVC; `retryable` is what the stage said of its own error."""

    def __init__(self, stage: str, found: str, remedy: str, retryable: bool = False) -> None:
        super().__init__(f"stage {stage} to end well", found, remedy)
        self.retryable = retryable


def order(workspace: Path, chosen: list[str] | None = None, last: str | None = None) -> list[str]:
    """The stages that `dvc repro` would look at, each after everything that it needs.

    Those are the stages of `dvc.yaml` and whatever stands upstream of them in other files.

    Args:
        workspace: the folder with `dvc.yaml`.
        chosen: only these, still in the DAG's order; None for all.
        last: this stage and what it needs; None for every stage.

    Raises:
        ConfigError: DVC cannot read the DAG, or `chosen` names a stage that is not in it.
    """
    parents = _parents(_dag(workspace, last))
    wanted = {node for node in parents if ":" not in node}
    for node in reversed(list(TopologicalSorter(parents).static_order())):
        if node in wanted:
            wanted |= parents[node]
    # Ready nodes in name order, so that two runs of one DAG look alike.
    ordered = _by_name({node: parents[node] & wanted for node in wanted})
    unknown = sorted(set(chosen or []) - set(ordered))
    if unknown:
        raise ConfigError("stages of dvc.yaml", ", ".join(unknown), f"Choose among: {', '.join(ordered)}.")
    return ordered if chosen is None else [stage for stage in ordered if stage in chosen]


def reproduce(
    workspace: Path, stage: str, say: Callable[[str], None], force: bool = False, minutes: float = math.inf
) -> Outcome:
    """Run `dvc repro` for this one stage, handing each line that it prints to `say` as it comes.

    However this function is left, the child and all that it started are gone.

    Args:
        workspace: the folder with `dvc.yaml`.
        stage: its name in DVC.
        say: is given the lines.
        force: run it even where nothing changed.
        minutes: that it may take; then it is ended.

    Raises:
        StageError: the stage failed, with the message that it left in `.stage-errors/`, or took too long.
    """
    error_file = workspace / ".stage-errors" / f"{stage.rpartition(':')[2]}.json"
    error_file.unlink(missing_ok=True)
    command = ["--wait-for-lock", "repro", "--single-item", *(["--force"] if force else []), stage]
    tail: deque[str] = deque(maxlen=TAIL_LINES)
    outcome = Outcome.RAN
    with _child(workspace, command) as process, _limit(process, minutes) as expired:
        for line in _lines(process):
            say(line)
            tail.append(line)
            outcome = next((known for known in Outcome if known.sign in line), outcome)
        status = process.wait()
    if expired.is_set():
        remedy = "Allow it more in `timeout_minutes`, or see why it hangs; training goes on from its last checkpoint."
        raise StageError(stage, f"it still running after {minutes:g} minutes, and ended it", remedy)
    if status:
        raise _failure(stage, error_file, status, list(tail))
    return outcome


def _by_name(parents: dict[str, set[str]]) -> list[str]:
    sorter = TopologicalSorter(parents)
    sorter.prepare()
    ordered: list[str] = []
    while sorter.is_active():
        ready = sorted(sorter.get_ready())
        ordered += ready
        sorter.done(*ready)
    return ordered


def _parents(dot: str) -> dict[str, set[str]]:
    """What each node of `dvc dag --dot` needs directly."""
    parents: dict[str, set[str]] = {}
    for line in dot.splitlines():
        match = _EDGE.match(line.strip())
        if match is None:
            continue
        parents.setdefault(match["node"], set())
        if match["child"]:
            parents.setdefault(match["child"], set()).add(match["node"])
    return parents


def _dag(workspace: Path, last: str | None) -> str:
    """What `dvc dag --dot` prints."""
    try:
        return dvc(workspace, "dag", "--dot", *([last] if last else []))
    except StorageError as error:
        remedy = "Give the folder that holds dvc.yaml as `workspace`."
        raise ConfigError(f"a DVC project in {workspace}", error.found, remedy) from error


@contextmanager
def _child(workspace: Path, arguments: list[str]) -> Iterator[subprocess.Popen[str]]:
    """DVC in its own process group; the whole group has ended when the context is left."""
    process = subprocess.Popen(
        # The stage ends with DVC.
        [*WITH_THIS, sys.executable, "-m", "dvc", *arguments],
        cwd=workspace,
        env=_environment(),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        errors="replace",
        start_new_session=True,
    )
    try:
        yield process
    finally:
        _end(process)


@contextmanager
def _limit(process: subprocess.Popen[str], minutes: float) -> Iterator[threading.Event]:
    """Ends the group when so many minutes are over, and says by the event that it did."""
    expired = threading.Event()

    def end() -> None:
        expired.set()
        _stop(process)

    timer = threading.Timer(min(minutes * 60, threading.TIMEOUT_MAX), end)
    timer.daemon = True
    timer.start()
    try:
        yield expired
    finally:
        timer.cancel()
        timer.join()


def _stop(process: subprocess.Popen[str]) -> None:
    """Ask the group to end, wait, then insist."""
    if process.poll() is None:
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGTERM)
        with suppress(subprocess.TimeoutExpired):
            process.wait(GRACE_S)
    with suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)


def _end(process: subprocess.Popen[str]) -> None:
    """See that the group has ended."""
    _stop(process)
    process.wait()
    if process.stdout is not None:
        process.stdout.close()


def _lines(process: subprocess.Popen[str]) -> Iterator[str]:
    """The child's non-empty lines, without trailing blanks."""
    for line in process.stdout or ():
        if line.strip():
            yield line.rstrip()


def _environment() -> dict[str, str]:
    """The child's environment: this interpreter's programs first, every line written at once, no colours."""
    path = os.pathsep.join([str(Path(sys.executable).parent), os.environ.get("PATH", os.defpath)])
    return {**os.environ, "PATH": path, "PYTHONUNBUFFERED": "1", "NO_COLOR": "1", "DVC_NO_ANALYTICS": "1"}


def _failure(stage: str, error_file: Path, status: int, tail: list[str]) -> StageError:
    """The error for a stage that failed: its own words where it left some, its last lines otherwise."""
    again = "Mend that and start the flow again; stages that are done are not run twice."
    if not error_file.is_file():
        return StageError(stage, f"exit status {status} after: {' | '.join(tail) or 'no output'}", again)
    record = json.loads(error_file.read_text(encoding="utf-8"))
    return StageError(stage, f"{record['class']}: {record['message'].rstrip('.')}", again, bool(record["retryable"]))
