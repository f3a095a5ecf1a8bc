"""The summary, read by others, and its picture."""

from __future__ import annotations

import os
import subprocess
from dataclasses import replace
from io import BytesIO
from pathlib import Path

import numpy as np
import pydicom
import pytest
from PIL import Image

from deploy.box import report, summary
from deploy.box.answered import Answered
from deploy.box.report import NOTICE
from deploy.box.said import lines, plain
from deploy.box.summary import Picture
from deploy.box.summary_page import MOST_LINES, SLICE, drawn
from pipeline.contract import load
from pipeline.inference.predict import Prediction
from tests.inference.conftest import Maker, SeriesWriter
from tests.programs import program

#: Where the pictures go, for a look at them.
LOOK = os.environ.get("MRI_BOX_PICTURES")


@pytest.fixture
def answered(make_release: Maker, write_series: SeriesWriter, tmp_path: Path) -> Answered:
    write_series(tmp_path / "study", 1, SeriesNumber=3)
    images = [pydicom.dcmread(path) for path in sorted((tmp_path / "study").iterdir())]
    study, series = str(images[0].StudyInstanceUID), str(images[0].SeriesInstanceUID)
    said = [
        Prediction(study, series, probabilities=(0.8125,), decision="1"),
        Prediction(status="too_few_slices", message="2 slices, and the release takes volumes of at least 4"),
    ]
    return Answered(images, said, load(make_release(tmp_path / "release")), "ab" * 32, "ONNX Runtime, fp32")


def pictures(answered: Answered) -> list[Picture]:
    """Of four images: a disk, and a map with one hot place each."""
    rows, columns = np.mgrid[:64, :64]
    disk = np.where((rows - 32) ** 2 + (columns - 32) ** 2 < 24**2, 150, 10).astype(np.uint8)
    made = []
    for number, image in enumerate(answered.images[:4]):
        hot = np.exp(-((rows[:8, :8] - 2 - number) ** 2 + (columns[:8, :8] - 3) ** 2) / 2).astype(np.float32)
        made.append(Picture(image.SOPInstanceUID, None, disk, (0.9 - number / 10,), hot[np.newaxis]))
    return made


def look(page: Image.Image, name: str) -> None:
    if LOOK:
        page.save(Path(LOOK) / f"{name}.png")


def checked(validator: str, *files: Path) -> list[str]:
    """The errors that dciodvfy or dcentvfy finds."""
    done = subprocess.run([program(validator), *map(str, files)], capture_output=True, text=True, check=False)
    return [line for line in (done.stdout + done.stderr).splitlines() if line.startswith("Error")]


def test_dciodvfy_finds_no_error_and_the_study_is_one(answered: Answered, tmp_path: Path) -> None:
    (tmp_path / "sc.dcm").write_bytes(summary.encoded(answered, pictures(answered)))
    (tmp_path / "sr.dcm").write_bytes(report.encoded(answered))
    assert checked("dciodvfy", tmp_path / "sc.dcm") == []
    source = sorted((tmp_path / "study").iterdir())
    assert checked("dcentvfy", tmp_path / "sc.dcm", tmp_path / "sr.dcm", *source) == []


def test_it_says_what_it_is(answered: Answered) -> None:
    made = pydicom.dcmread(BytesIO(summary.encoded(answered, [])))
    assert made.SeriesDescription == NOTICE
    assert "UNVERIFIED" in made.ImageComments
    assert made.StudyInstanceUID == answered.images[0].StudyInstanceUID
    assert made.SeriesInstanceUID not in {image.SeriesInstanceUID for image in answered.images}
    assert made.PatientName == "Doe^Jane"
    assert made.pixel_array.shape == (made.Rows, made.Columns, 3)


def test_a_repeat_is_no_second_object_and_the_report_is_another(answered: Answered) -> None:
    first = summary.secondary_capture(answered, [])
    assert summary.secondary_capture(answered, pictures(answered)).SOPInstanceUID == first.SOPInstanceUID
    made = report.structured_report(answered)
    assert {made.SOPInstanceUID, made.SeriesInstanceUID}.isdisjoint({first.SOPInstanceUID, first.SeriesInstanceUID})
    other = replace(answered, predictions=answered.predictions[:1])
    assert summary.secondary_capture(other, []).SOPInstanceUID != first.SOPInstanceUID


def test_slices_and_overlays_are_on_the_page(answered: Answered) -> None:
    page, bare = drawn(answered, pictures(answered)), drawn(answered, [])
    look(page, "pictures")
    look(bare, "words")
    assert page.width == bare.width == 1024
    assert page.height - bare.height > 2 * SLICE
    colours = np.asarray(page).reshape(-1, 3).astype(int)
    assert ((colours[:, 0] - colours[:, 2] > 100) & (colours[:, 1] > 150)).sum() > 1_000


def test_an_answer_without_a_map_shows_the_slice_alone(answered: Answered) -> None:
    page = drawn(answered, [replace(each, saliency=None) for each in pictures(answered)[:1]])
    look(page, "one")
    assert page.height > drawn(answered, []).height + SLICE


def test_what_has_no_answer_says_so_and_has_no_number(answered: Answered) -> None:
    refused = replace(answered, predictions=answered.predictions[1:])
    look(drawn(refused, []), "refused")
    (line,) = lines(refused)
    assert line.probability is None
    assert line.told.startswith("too few slices: 2 slices")
    made = report.structured_report(refused)
    assert "Probability" not in str(made)
    assert pydicom.dcmread(BytesIO(summary.encoded(refused, []))).SOPClassUID == "1.2.840.10008.5.1.4.1.1.7"


def test_an_image_that_has_no_answer_by_itself_is_not_its_series(answered: Answered) -> None:
    image, (_, refused) = answered.images[0], answered.predictions
    named = replace(refused, SeriesInstanceUID=image.SeriesInstanceUID, SOPInstanceUID=image.SOPInstanceUID)
    assert [line.about for line in lines(replace(answered, predictions=[refused, named]))] == [
        "A file of the study",
        "Series 3, one image",
    ]


def test_slices_of_a_series_are_one_line(answered: Answered) -> None:
    (first, *_) = answered.predictions
    each = [
        replace(first, SOPInstanceUID=image.SOPInstanceUID, probabilities=(0.1 * place,), decision=str(int(place > 4)))
        for place, image in enumerate(answered.images)
    ]
    (line,) = lines(replace(answered, predictions=each))
    assert line.probability == pytest.approx(0.7)
    assert line.told == "the highest of 8 slices; 3 of them at or above the threshold"
    assert line.positive
    assert line.about == "Series 3: probability of 1"


def test_more_answers_than_the_page_has_room_for_are_said(answered: Answered) -> None:
    many = replace(answered, predictions=[*[answered.predictions[1]] * (MOST_LINES + 5), answered.predictions[0]])
    page = drawn(many, [])
    look(page, "many")
    assert page.height < 2_000
    # The one answer stands before the reasons for none: amber, its number and the edge of its panel.
    first = np.asarray(page)[236:340, 32:160].reshape(-1, 3)
    assert (first == (255, 190, 61)).all(1).sum() > 1_000


def test_words_are_brought_to_the_fonts_characters() -> None:
    assert plain("Läsion é 腫瘍") == "Lasion e ??"


def test_of_several_classes_each_has_its_line_and_slices_their_highest(answered: Answered) -> None:
    task = answered.manifest.task.model_copy(update={"kind": "multilabel", "classes": ["mass", "bleed", "shift"]})
    calibration = answered.manifest.calibration.model_copy(update={"threshold": [0.2, 0.5, 0.9]})
    manifest = answered.manifest.model_copy(update={"task": task, "calibration": calibration})
    said = replace(answered.predictions[0], probabilities=(0.3, 0.1, 0.8), decision="mass")
    several = replace(answered, manifest=manifest, predictions=[said])
    assert [(line.about, line.threshold, line.positive) for line in lines(several)] == [
        ("Series 3: probability of mass", 0.2, True),
        ("Series 3: probability of bleed", 0.5, False),
        ("Series 3: probability of shift", 0.9, False),
    ]
    shown = [
        replace(each, scores=(0.1, 0.7, 0.2), saliency=np.repeat(each.saliency, 3, 0))
        for each in pictures(answered)[:3]
        if each.saliency is not None
    ]
    look(drawn(several, shown), "several")
    assert summary.encoded(several, shown)
