import math

from pipeline.clinical.report.content import epochs, rejections


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
