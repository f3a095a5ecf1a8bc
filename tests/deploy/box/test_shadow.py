"""A release in the shadow answers what was answered, and nothing of it leaves the box."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from types import SimpleNamespace

import pytest

from deploy.box.answer import Answer
from deploy.box.journal import Instance, Journal
from deploy.box.releases import Chosen
from deploy.box.shadow import Shadowing, compared
from pipeline.errors import WorkerError
from pipeline.inference.predict import Prediction

TIME = "2026-01-01T00:00:00.000+00:00"


def said(probability: float, series: str = "1.0") -> list[Prediction]:
    return [Prediction("1", series, probabilities=(probability,), decision=f"{int(probability >= 0.5)}")]


class Shadow:
    """In place of its workers: the choice of releases, and what the one in the shadow says."""

    def __init__(self, answers: Sequence[list[Prediction] | None]) -> None:
        self.chosen: Chosen | None = Chosen(answering="a", shadow="b", settings="a")
        self.releases = SimpleNamespace(chosen=lambda: self.chosen)
        self.answers, self.closed = list(answers), 0

    def of(self, sha256: str) -> Shadow:
        assert sha256 == "b"
        return self

    def answer(self, files: Sequence[Path]) -> Answer:
        found = self.answers.pop(0)
        if found is None:
            raise WorkerError("the process to survive", "it ended", "See what the study is.")
        return Answer(found, {}, None, "not_assessed")

    def close(self) -> None:
        self.closed += 1


@pytest.fixture
def journal(tmp_path: Path) -> Journal:
    return Journal(tmp_path / "journal.sqlite")


def answered(journal: Journal, number: int, predictions: list[Prediction] | None) -> None:
    """A study that release a answered; None: it waits."""
    uid = f"1.{number}"
    journal.add(Instance(f"{uid}.1", uid, f"{uid}.0", "c", "ab", 1, f"{number}.dcm", "A", TIME))
    journal.complete(TIME, TIME)
    (study,) = [each for each in journal.studies() if each.study_instance_uid == uid]
    if predictions is not None:
        values = {"release_sha256": "a", "predictions": json.dumps([asdict(each) for each in predictions])}
        assert journal.settle(study, "answered", **values)


def shadowing(journal: Journal, shadow: Shadow) -> Shadowing:
    return Shadowing(journal, Path("/in"), shadow)  # type: ignore[arg-type]


def test_both_are_compared(journal: Journal) -> None:
    for number, probability in enumerate((0.9, 0.6, 0.2, 0.1)):
        answered(journal, number, said(probability))
    shadow = Shadow([said(0.8), said(0.4), None, said(0.1, series="2.0")])
    at_work = shadowing(journal, shadow)
    assert [at_work.step() for _ in range(5)] == [True, True, True, True, False]
    found = compared(journal, "b", "a")
    assert (found.studies, found.failed, found.answers) == (4, 1, 2)
    # The last one was of another series: each of the two was answered by one release.
    assert found.otherwise == 2
    assert {study.state for study in journal.studies()} == {"answered"}
    assert {study.release_sha256 for study in journal.studies()} == {"a"}


def test_differences_are_of_probabilities_and_decisions(journal: Journal) -> None:
    answered(journal, 1, said(0.6))
    assert shadowing(journal, Shadow([said(0.4)])).step()
    found = compared(journal, "b", "a")
    assert (found.answers, found.decisions) == (1, 1)
    assert found.largest == found.mean == pytest.approx(0.2)


def test_who_waits_for_an_answer_comes_first(journal: Journal) -> None:
    answered(journal, 1, said(0.6))
    answered(journal, 2, None)
    assert not shadowing(journal, Shadow([said(0.4)])).step()


def test_without_a_shadow_its_process_ends(journal: Journal) -> None:
    answered(journal, 1, said(0.6))
    shadow = Shadow([])
    shadow.chosen = Chosen(answering="a", settings="a")
    assert not shadowing(journal, shadow).step()
    assert shadow.closed == 1


def test_an_answer_that_was_made_anew_is_compared_anew(journal: Journal) -> None:
    answered(journal, 1, said(0.6))
    shadow = Shadow([said(0.6), said(0.6)])
    assert shadowing(journal, shadow).step()
    assert not shadowing(journal, shadow).step()
    answered(journal, 1, said(0.7))
    assert shadowing(journal, shadow).step()
