"""The report: whose it is, of which images, and under which UIDs."""

from __future__ import annotations

from copy import deepcopy
from dataclasses import replace
from pathlib import Path
from typing import Any

import pydicom
import pytest
from highdicom.sr import MeasurementReport
from pydicom.dataset import Dataset

from deploy.box import summary
from deploy.box.answered import Answered
from deploy.box.report import structured_report
from pipeline.contract import load
from pipeline.inference.predict import Prediction
from tests.inference.conftest import Maker, SeriesWriter


@pytest.fixture
def answered(make_release: Maker, write_series: SeriesWriter, tmp_path: Path) -> Answered:
    write_series(tmp_path / "study", 1)
    images = [pydicom.dcmread(path) for path in sorted((tmp_path / "study").iterdir())]
    study, series = str(images[0].StudyInstanceUID), str(images[0].SeriesInstanceUID)
    said = [
        Prediction(study, series, probabilities=(0.8125,), decision="1"),
        Prediction(study, series, status="too_many_slices", message="9 slices"),
    ]
    return Answered(images, said, load(make_release(tmp_path / "release")), "ab" * 32, "ONNX Runtime, fp32")


def test_it_is_of_the_patient_and_the_study(answered: Answered) -> None:
    made = structured_report(answered)
    assert made.StudyInstanceUID == answered.images[0].StudyInstanceUID
    assert made.PatientName == "Doe^Jane"


def sources(prediction: Prediction, answered: Answered) -> list[str]:
    """The images to which the one group refers that says this."""
    made = structured_report(replace(answered, predictions=[prediction]))
    (group,) = MeasurementReport.from_sequence([made.content[0]]).get_image_measurement_groups()
    return [image.referenced_sop_instance_uid for image in group.source_images]


def test_an_answer_refers_to_what_it_is_about_and_to_nothing_where_that_is_unknown(answered: Answered) -> None:
    first, *others = answered.images
    others[-1].SeriesInstanceUID = "1.2.3"
    uids = [image.SOPInstanceUID for image in answered.images]
    of_study = Prediction(first.StudyInstanceUID, status="too_many_slices")
    of_series = replace(of_study, SeriesInstanceUID=first.SeriesInstanceUID)
    assert sources(of_study, answered) == uids
    assert sources(of_series, answered) == uids[:-1]
    assert sources(replace(of_series, SOPInstanceUID=uids[2]), answered) == [uids[2]]
    assert sources(Prediction(status="unreadable_file"), answered) == []


@pytest.mark.parametrize(
    ("keyword", "value"), [("PatientBirthDate", "unknown"), ("PatientBirthDate", "19800231"), ("StudyTime", "noon")]
)
@pytest.mark.filterwarnings("ignore:Invalid value for VR")
def test_a_header_that_breaks_the_standard_is_left_out_and_the_rest_is_said(
    keyword: str, value: str, answered: Answered, tmp_path: Path
) -> None:
    for image in answered.images:
        setattr(image, keyword, value)
    made = structured_report(answered)
    assert not made.get(keyword)
    assert made.PatientName == "Doe^Jane"
    assert summary.encoded(answered, [])


def test_a_repeat_is_no_second_object_and_another_answer_is_one(
    answered: Answered, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = structured_report(answered)
    assert structured_report(answered).SOPInstanceUID == first.SOPInstanceUID
    for other in (
        replace(answered, predictions=answered.predictions[:1]),
        replace(answered, predictions=[replace(answered.predictions[0], FrameNumber=2), *answered.predictions[1:]]),
        replace(answered, release_sha256="cd" * 32),
        replace(answered, backend="OpenVINO, fp32"),
    ):
        assert structured_report(other).SOPInstanceUID != first.SOPInstanceUID
    monkeypatch.setattr("deploy.box.answered.__version__", "another")
    assert structured_report(replace(answered)).SOPInstanceUID != first.SOPInstanceUID


#: What the standard has a result copy from its images, one of each kind.
CORRECTED = {
    "PatientName": "Roe^Richard",
    "PatientID": "P2",
    "PatientBirthDate": "19800229",
    "OtherPatientIDsSequence": [Dataset()],
    "StudyDescription": "Brain",
    "AccessionNumber": "A2",
    "SpecificCharacterSet": "ISO_IR 100",
}


def corrected(answered: Answered, **values: Any) -> Answered:
    """The same answer of the same images, in which attributes were mended."""
    images = deepcopy(answered.images)
    for image in images:
        for keyword, value in values.items():
            setattr(image, keyword, value)
    return replace(answered, images=images)


@pytest.mark.parametrize("keyword", list(CORRECTED))
def test_a_report_of_another_patient_or_study_is_another_object(answered: Answered, keyword: str) -> None:
    other = corrected(answered, **{keyword: CORRECTED[keyword]})
    for made in (structured_report, lambda of: summary.secondary_capture(of, [])):
        before, after = made(answered), made(other)
        assert after[keyword] == other.images[0][keyword]
        assert after.SOPInstanceUID != before.SOPInstanceUID
        assert after.SeriesInstanceUID != before.SeriesInstanceUID


def test_what_is_in_no_uid_is_in_no_result(answered: Answered) -> None:
    """Were more of an image copied than its UIDs are made from, one UID could have two contents."""
    rest = corrected(answered, SeriesDescription="another", AcquisitionDate="20200101", IssuerOfAdmissionID="X")
    before, after = structured_report(answered), structured_report(rest)
    assert after.SOPInstanceUID == before.SOPInstanceUID
    made = {
        "ContentDate",
        "ContentTime",
        "InstanceCreationDate",
        "InstanceCreationTime",
        "ContributingEquipmentSequence",
    }
    assert {each.keyword for each in after if each != before.get(each.tag)} <= made
