from __future__ import annotations

import re
from collections import Counter

import pytest
from pydicom.datadict import dictionary_keyword, dictionary_VR, keyword_dict

from pipeline.dicom.confidentiality import kept_text, rule, rules, safe_private
from pipeline.dicom.dummies import NUMERIC, TEXT

#: What a resolved action may be, by the action of the standard with its alternatives.
ALTERNATIVES = {
    "X": "X",
    "Z": "Z",
    "D": "DU",
    "U": "U",
    "Z/D": "ZD",
    "X/Z": "XZ",
    "X/D": "XD",
    "X/Z/D": "XZD",
    "X/Z/U*": "XZU",
}


def test_the_table_is_whole_and_each_row_is_resolved_to_one_of_its_alternatives():
    assert len(rules()) == len({row.tag for row in rules()}) == 620
    assert all(row.action in ALTERNATIVES[row.standard] for row in rules())
    assert Counter(row.standard for row in rules()) == {
        "X": 383,
        "D": 92,
        "U": 54,
        "Z": 42,
        "X/D": 22,
        "X/Z": 11,
        "X/Z/D": 8,
        "Z/D": 6,
        "X/Z/U*": 2,
    }


def test_rows_are_named_as_in_the_dictionary():
    for row in rules():
        if "x" not in row.tag:
            assert (row.keyword, row.vr) == (dictionary_keyword(row.tag), dictionary_VR(row.tag))
            assert rule(int(row.tag, 16)) == row


def test_options_are_for_dates_and_for_sex_and_age():
    assert {row.keyword for row in rules() if row.option == "sex_age"} == {"PatientSex", "PatientAge"}
    dates = {row.keyword for row in rules() if row.vr in ("DA", "DT", "TM") and not row.option}
    assert dates == {"PatientBirthDate", "PatientBirthTime"}


@pytest.mark.parametrize(
    ("tag", "keyword"),
    [
        (0x50003000, "CurveData"),
        (0x50FE0040, "CurveData"),
        (0x60003000, "OverlayData"),
        (0x601E4000, "OverlayComments"),
        (0x60020022, ""),
        (0x00090000, ""),
    ],
)
def test_repeating_groups(tag, keyword):
    found = rule(tag)
    assert found is not None
    assert (found.action, found.keyword) == ("X", keyword)


@pytest.mark.parametrize("tag", [0x00080016, 0x00280010, 0x7FE00010, 0x00180050, 0x00080008])
def test_what_is_outside_the_table(tag):
    assert rule(tag) is None


def test_kept_texts_are_texts_outside_the_table():
    for keyword in kept_text():
        assert dictionary_VR(keyword_dict[keyword]) in TEXT
        assert rule(keyword_dict[keyword]) is None


def test_safe_private_elements_are_numbers_and_codes_of_odd_groups():
    assert len(safe_private()) > 20
    for (creator, group, element), vr in safe_private().items():
        assert group % 2 == 1
        assert 0 <= element <= 0xFF
        assert vr in NUMERIC | {"CS"} or (group, creator, element) == (0x29, "SIEMENS CSA HEADER", 0x10)
        assert re.fullmatch(r"[A-Za-z0-9_ ]+", creator)
