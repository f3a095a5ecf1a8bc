from __future__ import annotations

import numpy as np
import pytest

from pipeline.dicom import labels
from pipeline.dicom.scan import Scan
from pipeline.errors import LabelError
from pipeline.imaging.volume import Volume


def scan(patient="p1", study="1.1", series="1.1.1", keys=(("1.1.1.1", None), ("1.1.1.2", None), ("1.1.1.3", None))):
    volume = Volume(np.zeros((len(keys), 4, 4), np.float32), np.eye(4))
    return Scan(
        volume,
        patient_id=patient,
        study_uid=study,
        series_uid=series,
        slice_keys=list(keys),
        manufacturer="GE",
        field_strength_t=3.0,
        contrast="FLAIR",
        sex="F",
        age_years=50,
    )


@pytest.fixture
def csv_file(tmp_path):
    def write(text, encoding="utf-8"):
        (tmp_path / "labels.csv").write_text(text, encoding)
        return tmp_path / "labels.csv"

    return write


def plain(found):
    return [(index, int(unit.label)) for index, unit in found]


@pytest.mark.parametrize(
    ("level", "column", "key"),
    [("patient", "PatientID", "p1"), ("study", "StudyInstanceUID", "1.1"), ("series", "SeriesInstanceUID", "1.1.1")],
)
def test_whole_series_by_each_key(csv_file, level, column, key):
    read = labels.read(csv_file(f"{column},label\n{key},1\nother,0\n"), level, None)
    assert plain(read.of(scan())) == [(None, 1)]
    assert read.of(scan("x", "x", "x")) == []
    assert len(read) == 2


def test_slices_by_their_instance_and_unlabelled_ones_left_out(csv_file):
    read = labels.read(csv_file("SOPInstanceUID,label\n1.1.1.3,1\n1.1.1.1,0\n"), "slice", None)
    assert plain(read.of(scan())) == [(0, 0), (2, 1)]


def test_slices_of_a_multi_frame_file_by_frame_number(csv_file):
    text = "SOPInstanceUID,FrameNumber,label\n1.9,3,1\n1.9,1,0\n1.1.1.2,1,1\n1.1.1.3,,1\n"
    read = labels.read(csv_file(text), "slice", None)
    frames = scan(keys=[("1.9", 2), ("1.9", 3), ("1.9", 1)])
    assert plain(read.of(frames)) == [(1, 1), (2, 0)]
    assert plain(read.of(scan())) == [(1, 1), (2, 1)]


def test_level_picks_one_of_several_key_columns(csv_file):
    columns = "PatientID,StudyInstanceUID,SeriesInstanceUID,SOPInstanceUID,label"
    text = f"{columns}\np1,1.1,1.1.1,1.1.1.1,0\np1,1.1,1.1.1,1.1.1.2,1\n"
    assert plain(labels.read(csv_file(text), "slice", None).of(scan())) == [(0, 0), (1, 1)]
    with pytest.raises(LabelError, match="lines 2 and 3 contradict each other"):
        labels.read(csv_file(text), "series", None)


def test_two_names_and_the_positive_one(csv_file):
    path = csv_file("PatientID,label\np1,tumour\np2,healthy\n")
    assert plain(labels.read(path, "patient", "tumour").of(scan())) == [(None, 1)]
    assert plain(labels.read(path, "patient", "healthy").of(scan())) == [(None, 0)]


def test_spreadsheet_habits(csv_file):
    read = labels.read(
        csv_file("PatientID, label ,site\n p1 , 1.0,north\n\np2,0.0,south\n", "utf-8-sig"), "patient", None
    )
    [(_, unit)] = read.of(scan())
    assert (unit.label, unit.site) == ("1", "north")


def test_other_columns_are_kept_unless_they_may_identify(csv_file):
    others = "grade,note,mrn,PatientName,patient_sex,seen,uid,copy,series"
    rows = [
        f"p{n},{n % 2},site{n},{'I' * (1 + n % 3)},says {n},M{n},DOE,F,2021-06-17,1.2.840.1.2,p1,9" for n in range(1, 8)
    ]
    read = labels.read(csv_file("\n".join([f"PatientID,label,site,{others}", *rows])), "patient", None)
    assert read.columns == ["grade"]
    assert read.dropped == ["note", "mrn", "PatientName", "patient_sex", "seen", "uid", "copy", "series"]
    [(_, unit)] = read.of(scan())
    assert (unit.site, unit.other) == ("site1", {"grade": "II"})


@pytest.mark.parametrize(
    ("distinct", "rows", "kept"), [(10, 21, True), (11, 99, False), (3, 7, True), (3, 6, False), (1, 2, False)]
)
def test_another_column_is_kept_when_it_is_one_of_few_categories(csv_file, distinct, rows, kept):
    lines = [f"p{n},{n % 2},c{n % distinct}" for n in range(rows)]
    read = labels.read(csv_file("\n".join(["PatientID,label,arm", *lines])), "patient", None)
    assert (read.columns, read.dropped) == ((["arm"], []) if kept else ([], ["arm"]))


def test_same_label_twice_is_no_contradiction(csv_file):
    assert len(labels.read(csv_file("PatientID,label\np1,1\np1,1\np2,0\n"), "patient", None)) == 2


@pytest.mark.parametrize("frames", [("", "1"), ("1", "")])
def test_slice_of_a_single_frame_file_with_and_without_frame_number_is_one(csv_file, frames):
    rows = "SOPInstanceUID,FrameNumber,label\n1.1.1.2,,0\n1.1.1.1,{},1\n1.1.1.1,{},{}\n"
    read = labels.read(csv_file(rows.format(*frames, 1)), "slice", None)
    assert plain(read.of(scan())) == [(0, 1), (1, 0)]
    with pytest.raises(LabelError, match="one label for each SOPInstanceUID in .*; found lines 3 and 4 contradict"):
        labels.read(csv_file(rows.format(*frames, 0)), "slice", None)


ERRORS = {
    "empty": ("", "column names and rows in .*labels.csv; found an empty file"),
    "no rows": ("PatientID,label\n", "found column names alone"),
    "no key": (
        "name,label\np1,1\np2,0\n",
        "a known key column in .*: PatientID, StudyInstanceUID, .*found columns name, label",
    ),
    "another key": (
        "StudyInstanceUID,label\n1,1\n2,0\n",
        "a column PatientID, the key for data.label_level: patient, .*StudyInstanceUID, label. .*label_level: study",
    ),
    "no label": ("PatientID,class\np1,1\n", "a column `label` in .*found columns PatientID, class"),
    "one class": ("PatientID,label\np1,1\np2,1\n", "two classes in the column `label` of .*found only '1'"),
    "one name": ("PatientID,label\np1,a\np2,a\n", "0 and 1 in the column `label`.*found 'a'. Set data.positive"),
    "two names": ("PatientID,label\np1,yes\np2,no\n", "0 and 1 in the column `label` .*'no', 'yes'. Set data.positive"),
    "three": ("PatientID,label\np1,0\np2,1\np3,2\n", "two classes in .*found 3: '0', '1', '2'"),
    "many": ("PatientID,label\n" + "".join(f"p{n},n{n}\n" for n in range(9)), "found 9: too many to name"),
    "a label missing": ("PatientID,label\np1,1\np2,0\np3,\n", "two classes in .*found 3: '', '0', '1'"),
    "contradiction": ("PatientID,label\np1,1\np2,0\np1,0\n", "one label for each PatientID in .*; found lines 2 and 4"),
    "no key value": ("PatientID,label\np1,1\n,0\n", "a PatientID in every row of .*; found none in line 3"),
    "ragged": ("PatientID,label\np1,1\np2,0,5\n", "2 values in every row of .*; found 3 in line 3"),
    "a column twice": (
        "PatientID,label,label\np1,1,0\n",
        "each column once in .*found columns PatientID, label, label",
    ),
    "quotes": ('PatientID,label\n"p1,1\n', "a CSV file in UTF-8 in .*; found Error"),
}


@pytest.mark.parametrize("name", ERRORS)
def test_error(csv_file, name):
    text, message = ERRORS[name]
    with pytest.raises(LabelError, match=message) as caught:
        labels.read(csv_file(text), "patient", None)
    assert "p1" not in str(caught.value)


@pytest.mark.parametrize("row", ["MRN-123,Doe^Jane,1", "MRN-123,Doe^Jane,,1,1", "Doe^Jane,19470309"])
def test_file_without_column_names_shows_nobody(csv_file, row):
    found = f"found {row.count(',') + 1} columns, none of them known; is the first line the column names"
    with pytest.raises(LabelError, match=found) as caught:
        labels.read(csv_file(f"{row}\n{row}\n"), "patient", None)
    assert [secret for secret in ("123", "Doe", "1947") if secret in str(caught.value)] == []


def test_no_such_file(tmp_path):
    with pytest.raises(LabelError, match=r"the labels in .*labels.csv; found no such file. Set data.labels"):
        labels.read(tmp_path / "labels.csv", "patient", None)


def test_no_text(tmp_path):
    (tmp_path / "labels.csv").write_bytes(b"PK\x03\x04\xff\xfe\x00")
    with pytest.raises(LabelError, match="a CSV file in UTF-8 in .*; found UnicodeDecodeError"):
        labels.read(tmp_path / "labels.csv", "patient", None)


def test_positive_that_is_no_class(csv_file):
    with pytest.raises(LabelError, match="the class data.positive: tumor in .*; found 'healthy', 'tumour'"):
        labels.read(csv_file("PatientID,label\np1,tumour\np2,healthy\n"), "patient", "tumor")


def test_frame_number_that_is_none(csv_file):
    with pytest.raises(LabelError, match="a FrameNumber from 1 in .*another value in line 3"):
        labels.read(csv_file("SOPInstanceUID,FrameNumber,label\n1.1,1,1\n1.1,0,0\n"), "slice", None)
