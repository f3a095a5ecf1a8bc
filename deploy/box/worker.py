"""One process that answers studies: whatever a study does to it, the box goes on.

The release is opened in it once. Its memory is capped, and its time for one study; a process that crashed, ran out of
either or was killed is replaced for the next call.
"""

from __future__ import annotations

import multiprocessing
import resource
import tempfile
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from multiprocessing.connection import Connection
from multiprocessing.context import SpawnProcess
from pathlib import Path

import pydicom

from deploy.box import report, summary
from deploy.box.destinations import Kind
from deploy.box.report import Answered
from pipeline.dicom.load import load
from pipeline.errors import DicomError, PipelineError, WorkerError
from pipeline.files import sha256_file
from pipeline.inference import signature
from pipeline.inference.predict import Prediction, predict
from pipeline.inference.release import Release, open_release

_ENDED_S = 5.0


@dataclass(frozen=True)
class Answer:
    """What a release says of a study, and the same as files of DICOM."""

    predictions: list[Prediction]
    contents: dict[Kind, bytes]


@dataclass(frozen=True)
class Limits:
    """Of the process: bytes of address space, and seconds for one study."""

    memory: int
    seconds: float


class Worker:
    """Answers one study at a time; not for several threads."""

    def __init__(self, release: Path, public_key: Path | None, limits: Limits) -> None:
        """Nothing starts before the first call.

        Args:
            release: the folder.
            public_key: its maker's; None: nobody vouches for it.
            limits: of the process.
        """
        self._asked, self._limits = (release, public_key, limits.memory), limits
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


def _serve(pipe: Connection, release: Path, public_key: Path | None, memory: int) -> None:
    """The process: answers until its parent has gone."""
    resource.setrlimit(resource.RLIMIT_AS, (memory, memory))
    # Of the box's memory nothing is left lying about where this one crashes.
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    opened: Release | None = None
    with suppress(EOFError, KeyboardInterrupt):
        while True:
            files = pipe.recv()
            try:
                opened = opened or open_release(release, public_key)
                pipe.send(_answered(opened, sha256_file(release / signature.SUMS), files))
            except PipelineError as error:
                pipe.send(error)


def _answered(release: Release, release_sha256: str, files: Sequence[Path]) -> Answer:
    # A folder of links: exactly what the journal names, whatever else lies where those files are.
    with tempfile.TemporaryDirectory() as folder:
        for number, path in enumerate(files):
            (Path(folder) / f"{number:06}").symlink_to(path)
        found: list[Prediction] = []
        with suppress(DicomError):
            # It says that nothing could be used, after every reason was given.
            found.extend(predict(release, load(Path(folder), release.manifest.selection, workers=1)))
    try:
        images = [pydicom.dcmread(path, stop_before_pixels=True) for path in files]
        if not found:
            message = "no series of this study is one that the release answers for"
            found = [Prediction(str(images[0].StudyInstanceUID), status="nothing_to_answer", message=message)]
        answered = Answered(images, found, release.manifest, release_sha256, release.backend.name)
        return Answer(found, {"sr": report.encoded(answered), "sc": summary.encoded(answered, [])})
    except (ValueError, TypeError, AttributeError, KeyError) as error:
        raise DicomError("headers of which a report can be made", type(error).__name__, "See the study.") from error
