"""What every stage shares: its config, its clock, its error file, and dying with its parent."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path

from pipeline import config
from pipeline.errors import PipelineError
from pipeline.files import FULL, storage_full, write_json
from pipeline.parent import die_with_parent
from pipeline.progress import say

#: Where a failed stage leaves its error for whoever started it; not an output of DVC, not in git.
ERRORS = Path(".stage-errors")


def run(
    name: str, stage: Callable[[config.Params], None], record: Callable[[], Mapping[str, str]] | None = None
) -> None:
    """Run a stage as a program: exit 0, or 1 with the error on stderr and in `.stage-errors/<name>.json`.

    The seconds it took, and what `record` adds to them, go to `reports/times/<name>.json`, which DVC does not know:
    equal runs differ in it.
    """
    # `kill -9` of `dvc` would leave the stage running.
    die_with_parent()
    error_file = ERRORS / f"{name}.json"
    error_file.unlink(missing_ok=True)
    begin = time.monotonic()
    try:
        stage(config.load())
    except PipelineError as error:
        _fail(name, error)
    except OSError as error:
        if error.errno not in FULL:
            raise
        _fail(name, storage_full(Path(error.filename or "."), error))
    if os.environ.get("RANK", "0") != "0":
        return  # under torchrun the first process answers for all, and writes what was made
    seconds = round(time.monotonic() - begin, 2)
    write_json(Path("reports/times") / f"{name}.json", {"seconds": seconds, **(record() if record else {})})
    say(f"{name}: done in {seconds:.1f} s")


def answer(name: str, question: Callable[[config.Params], None]) -> None:
    """Run what only prints: exit 0, or 1 with the error on stderr. It leaves no file, and may be cut off (`| head`)."""
    try:
        question(config.load())
        sys.stdout.flush()
    except PipelineError as error:
        say(f"{name}: {type(error).__name__}: {error}")
        sys.exit(1)
    except BrokenPipeError:
        # What is left to be written must not fail when Python ends.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _fail(name: str, error: PipelineError) -> None:
    """Say what went wrong, leave it as JSON, and end the process."""
    record = {"stage": name, "class": type(error).__name__, "message": str(error), "retryable": error.retryable}
    try:
        write_json(ERRORS / f"{name}.json", record)
    except (PipelineError, OSError):
        say("the error could not be written to a file either")
    say(f"{name}: {type(error).__name__}: {error}")
    sys.exit(1)
