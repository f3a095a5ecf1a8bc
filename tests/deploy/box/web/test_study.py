"""The page of a study: by the release that answered it, and of the revision that was answered."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from deploy.box.journal import Study
from deploy.box.web import study
from pipeline import contract
from pipeline.files import read_json, write_json
from pipeline.inference import signature
from tests.deploy.box.conftest import instance
from tests.deploy.box.results import result
from tests.deploy.box.web.conftest import Site
from tests.deploy.box.web.test_pages import POSITIVE, fill
from tests.deploy.box.web.test_stow import encoded

Start = Callable[..., Site]
SEVERAL = {**POSITIVE, "probabilities": [0.93, 0.21], "decision": "mass"}


@pytest.fixture
def several(release: Path, tmp_path: Path) -> Path:
    """Another release, of two classes with a threshold each."""
    made = tmp_path / "several"
    shutil.copytree(release, made)
    manifest = read_json(made / "manifest.json")
    manifest["task"] |= {"kind": "multilabel", "classes": ["mass", "bleed"]}
    manifest["calibration"] |= {"temperature": [1.0, 1.0], "threshold": [0.75, 0.25], "calibration_sha256": None}
    write_json(made / "manifest.json", manifest)
    signature.write_sums(made)
    return made


def answered(box: Site, *instances: int) -> Study:
    """The study, once these came and it was answered, with a picture."""
    for number in instances:
        box.incoming.keep(encoded(instance(number)), "SCANNER")
    box.journal.complete("9999", "9999")
    (waiting,) = box.journal.studies("complete")
    values = {"release_sha256": box.running.sha256, "predictions": json.dumps([POSITIVE])}
    assert box.outbox.enter(waiting, {"sc": result(waiting.revision)}, True, **values)
    return waiting


def test_thresholds_and_classes_are_of_the_release_that_answered(site: Start, release: Path, several: Path) -> None:
    box = site()
    before = contract.load(release).calibration.threshold
    fill(box, 1, "answered", release_sha256=box.running.sha256, predictions=json.dumps([POSITIVE]))
    box.releases.start(several)
    fill(box, 2, "answered", release_sha256=box.running.sha256, predictions=json.dumps([SEVERAL]))
    first, second = box.get("/studies/1").text, box.get("/studies/2").text
    assert f"(threshold {before:.3f})" in first
    assert "which no longer runs" in first
    assert "0.750" not in first
    assert all(words in second for words in ("mass 0.930", "(threshold 0.750)", "bleed 0.210", "(threshold 0.250)"))
    assert "the running release" in second
    assert "not kept here any more" not in first + second
    listed = box.get("/").text
    assert "positive (0.93)" in listed
    assert "mass (0.93)" in listed


def test_of_a_release_that_is_gone_nothing_is_made_up(site: Start) -> None:
    box = site()
    fill(box, 1, "answered", release_sha256="ab" * 32, predictions=json.dumps([POSITIVE]))
    fill(box, 2, "answered", release_sha256="ab" * 32, predictions=json.dumps([SEVERAL]))
    for number in (1, 2):
        shown = box.get(f"/studies/{number}").text
        assert "(threshold" not in shown
        assert "its thresholds and the names of its classes are not known" in shown
    assert "class 1 0.930" in box.get("/studies/2").text
    assert "positive (0.93)" in box.get("/").text


def test_an_answer_of_an_earlier_revision_is_marked_until_there_is_a_new_one(site: Start) -> None:
    box = site()
    answered(box, 1)
    assert "earlier" not in box.get("/studies/1").text.lower()
    box.incoming.keep(encoded(instance(2)), "SCANNER")
    marked_as(box, "is still being received")
    box.journal.complete("9999", "9999")
    marked_as(box, "waits for its answer")
    (waiting,) = box.journal.studies("complete")
    box.journal.settle(waiting, "failed", reason="expected memory; found none.")
    marked_as(box, "could not be answered")
    box.incoming.keep(encoded(instance(3)), "SCANNER")
    answered(box)
    shown = box.get("/studies/1").text
    assert "0.930" in shown
    assert "earlier" not in shown.lower()


def marked_as(box: Site, stands: str) -> None:
    """The page marks both, answer and picture; the list shows no answer."""
    shown = box.get("/studies/1").text
    assert "0.930" in shown
    assert all(words in shown for words in ("<h2>Earlier answers</h2>", "<h2>Earlier key slices"))
    assert shown.count(f"An earlier answer, of revision 1. Revision 2 of the study {stands}.") == 2
    assert "0.93" not in box.get("/").text


def test_an_answer_that_is_asked_for_anew_is_marked_too(site: Start) -> None:
    box = site()
    first = answered(box, 1)
    (now,) = box.journal.studies("answered")
    box.journal.settle(now, "complete")
    shown = box.get("/studies/1").text
    assert shown.count("An earlier answer. Revision 1 of the study waits for its answer.") == 2
    (now,) = box.journal.studies("complete")
    assert study.before(now, None) == study.before(now, first.revision)
