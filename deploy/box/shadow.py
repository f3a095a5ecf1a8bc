"""A release in the shadow: it answers what the other answered, sends nothing, and is compared.

It runs in a process of its own, only while no study waits for the release that answers.
"""

from __future__ import annotations

import json
import logging
import sqlite3
import threading
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from deploy.box.journal import OF_STUDIES, Journal, Study
from deploy.box.workers import Workers
from pipeline.errors import PipelineError

_LOG = logging.getLogger(__name__)

_WAITING = f"""
    SELECT {OF_STUDIES} FROM studies WHERE state = 'answered' AND release_sha256 = ?1
    AND EXISTS (SELECT 1 FROM instances WHERE instances.study = studies.study)
    AND NOT EXISTS (SELECT 1 FROM shadows WHERE shadows.study = studies.study
        AND shadows.revision = studies.revision AND shadows.shadow_sha256 = ?2 AND shadows.beside_sha256 = ?1)
    ORDER BY last_received DESC LIMIT 1
"""  # noqa: S608


class Shadowing:
    """Has the release in the shadow answer what was answered, the newest first."""

    def __init__(self, journal: Journal, incoming: Path, workers: Workers) -> None:
        """Nothing is done yet.

        Args:
            journal: where studies stand.
            incoming: the folder of their files.
            workers: of the release in the shadow.
        """
        self._journal, self._incoming, self._workers = journal, incoming, workers

    def run(self, stop: threading.Event, every_s: float = 1.0) -> None:
        """Until `stop` is set."""
        while not stop.wait(every_s):
            try:
                while not stop.is_set() and self.step():
                    pass
            except (PipelineError, OSError, sqlite3.Error) as error:
                _LOG.error("the release in the shadow is tried again: %s", error)
                stop.wait(30.0)

    def step(self) -> bool:
        """Answer one study; False where there is none to answer now."""
        chosen = self._workers.releases.chosen()
        if chosen.shadow is None:
            self._workers.close()
            return False
        if self._journal.studies("complete"):
            return False
        with self._journal.transaction() as database:
            row = database.execute(_WAITING, (chosen.answering, chosen.shadow)).fetchone()
        if row is None:
            return False
        study, said, reason = Study(*row), "", ""
        files = [self._incoming / each.file for each in self._journal.instances(study.study_instance_uid)]
        try:
            said = self._workers.of(chosen.shadow).answer(files).said
        except PipelineError as error:
            reason = str(error)
        values = (study.study, study.revision, chosen.shadow, chosen.answering, study.predictions, said, reason)
        with self._journal.transaction() as database:
            database.execute("INSERT OR REPLACE INTO shadows VALUES (?, ?, ?, ?, ?, ?, ?)", values)
        return True


@dataclass(frozen=True)
class Compared:
    """A release in the shadow against the one that answers.

    Attributes:
        studies: that both were asked for.
        failed: of them, those that the one in the shadow could not answer at all.
        answers: that both gave with a number.
        otherwise: answers to which one of the two gave no number.
        decisions: answers with another decision.
        largest, mean: difference of probabilities; NaN without answers.
    """

    studies: int
    failed: int
    answers: int
    otherwise: int
    decisions: int
    largest: float
    mean: float


def compared(journal: Journal, shadow_sha256: str, beside_sha256: str) -> Compared:
    """How far the two agree, over all studies that the shadow has answered."""
    with journal.transaction() as database:
        query = "SELECT beside, predictions FROM shadows WHERE shadow_sha256 = ? AND beside_sha256 = ?"
        rows = database.execute(query, (shadow_sha256, beside_sha256)).fetchall()
    otherwise = decisions = 0
    apart: list[float] = []
    for beside, said in rows:
        if not said:
            continue
        one, other = _by_place(json.loads(beside)), _by_place(json.loads(said))
        for place in one.keys() | other.keys():
            pair = [each[place] for each in (one, other) if place in each and each[place]["status"] == "ok"]
            otherwise += len(pair) == 1
            if len(pair) == 2:
                decisions += pair[0]["decision"] != pair[1]["decision"]
                apart.append(_apart(pair))
    failed = sum(not said for _, said in rows)
    largest, mean = (max(apart), sum(apart) / len(apart)) if apart else (float("nan"), float("nan"))
    return Compared(len(rows), failed, len(apart), otherwise, decisions, largest, mean)


def _by_place(predictions: Sequence[dict[str, Any]]) -> dict[tuple[str, ...], dict[str, Any]]:
    names = ("StudyInstanceUID", "SeriesInstanceUID", "SOPInstanceUID", "FrameNumber")
    return {tuple(str(each[name]) for name in names): each for each in predictions}


def _apart(pair: Sequence[dict[str, Any]]) -> float:
    one, other = (each["probabilities"] for each in pair)
    # Releases of other classes have nothing to compare but their decisions.
    return max(abs(a - b) for a, b in zip(one, other, strict=True)) if len(one) == len(other) else float("nan")
