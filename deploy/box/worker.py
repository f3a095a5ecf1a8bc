"""One process that answers studies: whatever a study does to it, the box goes on.

The release is opened in it once. Its memory is capped, and its time for one study; a process that crashed, ran out of
either or was killed is replaced for the next call.
"""

from __future__ import annotations

import logging
import multiprocessing
import resource
import warnings
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from multiprocessing.connection import Connection
from multiprocessing.context import SpawnProcess
from pathlib import Path

from deploy.box import engines
from deploy.box.answer import Answer, Opened, answer, opened
from pipeline.errors import PipelineError, WorkerError
from pipeline.parent import die_with_parent

_ENDED_S = 5.0


@dataclass(frozen=True)
class Limits:
    """Of the process: bytes of address space (with an engine, of its data), and seconds for one study."""

    memory: int
    seconds: float


class Worker:
    """Answers one study at a time; not for several threads."""

    def __init__(self, release: Path, public_key: Path | None, limits: Limits, state: Path | None = None) -> None:
        """Nothing starts before the first call.

        Args:
            release: the folder.
            public_key: its maker's; None: nobody vouches for it.
            limits: of the process.
            state: the box's folder, in which there may be an engine of the release; None: there is none.
        """
        self._asked, self._limits = (release, public_key, state, limits.memory), limits
        self._process: SpawnProcess | None = None
        self._pipe: Connection | None = None

    def answer(self, files: Sequence[Path]) -> Answer:
        """What the release says of the series in these files, and why of others nothing.

        Raises:
            WorkerError: the process did not survive it, or took too long.
            PipelineError: the release cannot be used, or no report can be made of these headers.
        """
        pipe = self._started()
        try:
            pipe.send(files)
            if not pipe.poll(self._limits.seconds):
                raise WorkerError(
                    f"an answer within {self._limits.seconds:g} s", "none", "Allow more, or see what the study is."
                )
            found: Answer | PipelineError = pipe.recv()
        except (WorkerError, EOFError, OSError) as error:
            self.close()
            if isinstance(error, WorkerError):
                raise
            raise WorkerError(
                "the process to survive the study",
                "it ended in the midst of it",
                f"See what the study is; it may use {self._limits.memory // 2**20} MiB.",
            ) from error
        if isinstance(found, PipelineError):
            raise found
        return found

    def close(self) -> None:
        """End the process."""
        if self._process is not None:
            self._process.kill()
            self._process.join(_ENDED_S)
            self._process.close()
        if self._pipe is not None:
            self._pipe.close()
        self._process = self._pipe = None

    def _started(self) -> Connection:
        if self._pipe is None or self._process is None or not self._process.is_alive():
            self.close()
            spawn = multiprocessing.get_context("spawn")
            self._pipe, theirs = spawn.Pipe()
            self._process = spawn.Process(target=_serve, args=(theirs, *self._asked), daemon=True)
            self._process.start()
            theirs.close()
        return self._pipe


def _serve(pipe: Connection, release: Path, public_key: Path | None, state: Path | None, memory: int) -> None:
    """The process: answers until its parent has gone."""
    die_with_parent()
    # CUDA reserves addresses for all the memory that there is; what is written to is limited then.
    on_gpu = state is not None and engines.built(release, state)
    resource.setrlimit(resource.RLIMIT_DATA if on_gpu else resource.RLIMIT_AS, (memory, memory))
    # pydicom's quote what a header says.
    warnings.simplefilter("ignore")
    logging.getLogger("pydicom").setLevel(logging.CRITICAL)
    # Of the box's memory nothing is left lying about where this one crashes.
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    ready: Opened | None = None
    with suppress(EOFError, KeyboardInterrupt):
        while True:
            files = pipe.recv()
            try:
                ready = ready or opened(release, public_key, state)
                pipe.send(answer(ready, files))
            except PipelineError as error:
                pipe.send(error)
