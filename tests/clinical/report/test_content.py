import math

from pipeline.clinical.report.content import epochs, groups, rejections
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


def test_rejections_are_counted_most_frequent_first():
    rows = [{"reason": r, "message": f"{r} it is"} for r in ("not_mr", "localizer", "missing_slice", "localizer")]
    assert rejections(rows) == [
        ("localizer", "localizer it is", 2),
        ("missing_slice", "missing_slice it is", 1),
        ("not_mr", "not_mr it is", 1),
    ]


def test_the_row_before_any_epoch_is_no_epoch():
    start = {"phase": "start", "epoch": "0", "train_loss": "", "val_auroc": "0.5"}
    first = {"phase": "head", "epoch": "1", "train_loss": "0.5", "val_auroc": "0.7"}
    assert [epoch.phase for epoch in epochs([start, first])] == ["head"]


def test_an_empty_cell_of_a_history_is_not_a_number():
    (epoch,) = epochs([{"phase": "head", "epoch": "1", "train_loss": "0.5", "val_auroc": ""}])
    assert epoch.train_loss == 0.5
    assert math.isnan(epoch.val_auroc)
