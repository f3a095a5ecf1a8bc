"""The report, read by others: DICOM's own checkers, and highdicom."""

from __future__ import annotations

import shutil
import subprocess
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


@pytest.mark.skipif(shutil.which("dciodvfy") is None, reason="dicom3tools is not installed")
def test_dciodvfy_finds_no_error(answered: Answered, tmp_path: Path) -> None:
    structured_report(answered).save_as(tmp_path / "sr.dcm")
    done = subprocess.run(["dciodvfy", str(tmp_path / "sr.dcm")], capture_output=True, text=True, check=False)
    errors = [line for line in done.stderr.splitlines() if line.startswith("Error")]
    assert not errors, errors


def test_what_is_read_back_is_what_was_said(answered: Answered) -> None:
    made = structured_report(answered)
    found = MeasurementReport.from_sequence([made.content[0]] if hasattr(made, "content") else [made])
    groups = found.get_image_measurement_groups()
    values = [{str(item.name.meaning): float(item.value) for item in group.get_measurements()} for group in groups]
    assert values == [{"Probability": 0.8125, "Threshold Value": 0.5}, {}]
    assert [len(group.source_images) for group in groups] == [8, 8]
    assert made.VerificationFlag == "UNVERIFIED"
    assert made.StudyInstanceUID == answered.images[0].StudyInstanceUID
    assert made.PatientName == "Doe^Jane"


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


def test_a_repeat_is_no_second_object_and_another_answer_is_one(answered: Answered) -> None:
    first = structured_report(answered)
    assert structured_report(answered).SOPInstanceUID == first.SOPInstanceUID
    other = replace(answered, predictions=answered.predictions[:1])
    assert structured_report(other).SOPInstanceUID != first.SOPInstanceUID


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
