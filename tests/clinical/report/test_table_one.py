import pytest

from pipeline.clinical.report.table_one import ages, groups
from pipeline.targets import Targets

SPLIT = [
    {"patient": "a", "split": "train", "site": "N", "label": "1"},
    {"patient": "b", "split": "train", "site": "N", "label": "0"},
    {"patient": "c", "split": "test", "site": "S", "label": "1"},
]


def test_patients_are_counted_by_side_and_group():
    index = [
        {"patient": "a", "sex": "F", "vendor": "GE"},
        {"patient": "a", "sex": "F", "vendor": "GE"},
        {"patient": "b", "sex": "", "vendor": "GE"},
        {"patient": "c", "sex": "M", "vendor": "GE"},
        {"patient": "d", "sex": "M", "vendor": "unlabelled, so not in the split"},
    ]
    found = {(g.heading, g.name): (g.patients, g.positive) for g in groups(SPLIT, index)}
    assert found == {
        ("All", "patients"): ((2, 0, 1), (1, 0, 1)),
        ("Site", "N"): ((2, 0, 0), (1, 0, 0)),
        ("Site", "S"): ((0, 0, 1), (0, 0, 1)),
        ("Sex", "not known"): ((1, 0, 0), (0, 0, 0)),
        ("Sex", "F"): ((1, 0, 0), (1, 0, 0)),
        ("Sex", "M"): ((0, 0, 1), (0, 0, 1)),
        ("Vendor", "GE"): ((2, 0, 1), (1, 0, 1)),
    }


def test_patients_of_several_classes_are_counted_by_class():
    rows = [{**row, "site": "", "label": label} for row, label in zip(SPLIT, ("0;1", "", "1"), strict=True)]
    found = groups(rows, [{"patient": p, "sex": "", "vendor": ""} for p in "abc"], Targets("multilabel", ("x", "y")))
    assert [(g.heading, g.name, g.patients, g.positive) for g in found] == [
        ("All", "patients", (2, 0, 1), ()),
        ("Class", "x", (1, 0, 0), ()),
        ("Class", "y", (1, 0, 1), ()),
    ]


def test_a_group_that_is_not_kept_is_not_shown():
    index = [{"patient": p, "sex": "", "vendor": ""} for p in "abc"]
    assert {g.heading for g in groups([{**row, "site": ""} for row in SPLIT], index)} == {"All"}


AGED = [
    {"patient": "a", "age_years": "17", "field_strength_t": "1.494", "sex": "F", "vendor": ""},
    {"patient": "a", "age_years": "18", "field_strength_t": "2.8936", "sex": "F", "vendor": ""},
    {"patient": "b", "age_years": "60", "field_strength_t": "3.0", "sex": "F", "vendor": ""},
    {"patient": "c", "age_years": "", "field_strength_t": "", "sex": "F", "vendor": ""},
]


def test_age_and_field_strength_stand_by_side():
    found = {(g.heading, g.name): g.patients for g in groups(SPLIT, AGED)}
    assert {key: value for key, value in found.items() if key[0] in ("Age", "Field strength")} == {
        ("Age", "0-17"): (1, 0, 0),
        ("Age", "60-79"): (1, 0, 0),
        ("Age", "not known"): (0, 0, 1),
        ("Field strength", "1.5 T + 3 T"): (1, 0, 0),
        ("Field strength", "3 T"): (1, 0, 0),
        ("Field strength", "not known"): (0, 0, 1),
    }


@pytest.mark.parametrize("heading", ["Age", "Sex", "Field strength", "Site"])
def test_the_groups_of_a_heading_add_up_to_all(heading):
    found = groups(SPLIT, AGED)
    for side in range(3):
        assert sum(g.patients[side] for g in found if g.heading == heading) == found[0].patients[side]


def test_ages_are_medians_with_quartiles_of_patients_at_their_first_scan():
    assert ages(SPLIT, AGED) == ["38 (28 to 49)", "not known", "not known"]
    assert ages(SPLIT, [{"patient": "a", "age_years": ""}]) == []
