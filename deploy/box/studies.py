"""When a study is complete, and that each complete one is answered or has a reason why not."""

from __future__ import annotations

import logging
import sqlite3
import threading
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

from deploy.box.answer import Answer
from deploy.box.journal import Journal, Study, stamp
from deploy.box.outbox import Outbox
from deploy.box.settings import Studies
from deploy.box.watch import Watch
from deploy.box.worker import Worker
from pipeline.errors import ContractError, DicomError, EngineError, PipelineError, WorkerError

#: Times that a study may cost the worker's process before it is given up.
TRIES = 2
#: Until the disk, or the release, is tried again after it failed.
AGAIN_S = 30.0

_LOG = logging.getLogger(__name__)


class Answering:
    """Looks for complete studies, and has the worker answer them one by one."""

    def __init__(
        self,
        journal: Journal,
        incoming: Path,
        outbox: Outbox,
        reports: Path,
        current: Callable[[], tuple[str, Worker]],
        settings: Studies,
        now: Callable[[], datetime] = lambda: datetime.now(UTC),
        watch: Watch | None = None,
    ) -> None:
        """Nothing is done yet.

        Args:
            journal: where studies stand.
            incoming: the folder of their files.
            outbox: where their answers go.
            reports: the folder of what monitoring reads.
            current: the release that answers now, by the hash of its SHA256SUMS, and its worker.
            settings: when a study is complete.
            now: the time, in UTC.
            watch: is told what becomes of studies; None: nobody is.
        """
        self._journal, self._incoming, self._outbox = journal, incoming, outbox
        self._reports, self._current, self._settings, self._now = reports, current, settings, now
        self._watch = watch or Watch()

    def run(self, stop: threading.Event, every_s: float = 1.0) -> None:
        """Until `stop` is set; a study that is under way is finished.

        While the disk fails, or the release cannot be opened, studies wait.
        """
        while not stop.wait(every_s):
            try:
                self._open()
                # What became complete meanwhile waits for nothing else.
                while self.round(stop) and not stop.is_set():
                    pass
            except (PipelineError, OSError, sqlite3.Error) as error:
                _LOG.error("nothing can be answered, which is tried again: %s", error)
                stop.wait(AGAIN_S)

    def round(self, stop: threading.Event | None = None) -> int:
        """Settle what is complete now; how many studies that were."""
        now, kept = self._now(), self._settings
        quiet, forced = (stamp(now - timedelta(seconds=each)) for each in (kept.quiet_s, kept.forced_s))
        self._journal.complete(quiet, forced)
        done = 0
        for study in self._journal.studies("complete"):
            if stop is not None and stop.is_set():
                break
            self._settle(study)
            done += 1
        return done

    def _open(self) -> None:
        """So that the release is open, or the reason known, before a study needs it."""
        if self._watch.worker_trouble is not None:
            self._require_open(self._current()[1])

    def _require_open(self, worker: Worker) -> None:
        try:
            self._answer(worker, [])
        except PipelineError as error:
            self._watch.worker(str(error))
            raise

    def _settle(self, study: Study) -> None:
        files = [self._incoming / row.file for row in self._journal.instances(study.study_instance_uid)]
        release_sha256, worker = self._current()
        if not files:
            self._give_up(study, DicomError("an image", "none: all came under another study", "See what sends them."))
            return
        if forgotten := self._journal.forgotten(study):
            self._give_up(study, _fragment(len(files), forgotten))
            return
        try:
            answer = self._answer(worker, files)
        except PipelineError as error:
            # Else it is not the study that failed, and it waits with all others.
            self._require_open(worker)
            self._give_up(study, error)
            return
        positive = any(each.decision not in ("", "0") for each in answer.predictions)
        values = {"release_sha256": release_sha256, "predictions": answer.said, "settled": stamp(self._now())}
        if self._outbox.enter(study, answer.contents, positive, **values):
            self._watch.settled(study.last_received, True, self._now())
            _LOG.info("study %d, revision %d: answered from %d instances", study.study, study.revision, len(files))
            answer.tell(self._reports, release_sha256, self._now())
        else:
            _LOG.info("study %d: more came while it was answered", study.study)

    def _give_up(self, study: Study, error: PipelineError) -> None:
        _LOG.error("study %d, revision %d: %s", study.study, study.revision, error)
        if self._outbox.fail(study, str(error), settled=stamp(self._now())):
            self._watch.settled(study.last_received, False, self._now())

    def _answer(self, worker: Worker, files: list[Path]) -> Answer:
        for _ in range(TRIES - 1):
            try:
                return self._asked(worker, files)
            except WorkerError as error:
                _LOG.warning("the worker was lost, and is tried again: %s", error)
        return self._asked(worker, files)

    def _asked(self, worker: Worker, files: list[Path]) -> Answer:
        try:
            found = worker.answer(files)
        except WorkerError:
            self._watch.worker_lost()
            raise
        except (ContractError, EngineError) as error:
            self._watch.worker(str(error))
            raise
        self._watch.worker(None)
        return found


def _fragment(images: int, forgotten: int) -> DicomError:
    """A number from what came late alone would be one of another study than the earlier results say."""
    return DicomError(
        f"all images of the study, {forgotten} of which were removed when their time had come (`answered_days`)",
        f"{images} without those",
        "Have the whole study sent again.",
    )
