import pytest

from pipeline.clinical.acceptance import evaluate, permission, require
from pipeline.config import Criterion, Data
from pipeline.errors import AcceptanceError

METRICS = {
    "finetuned": {"auroc": {"value": 0.91, "low": 0.83, "high": 0.97}},
    "scratch": {"auroc": {"value": None, "low": None, "high": None, "reason": "only one class among the units"}},
    "calibration": {"brier": float("nan")},
    "transfer": {"verdict": "negative"},
}


def judge(**criterion):
    (result,) = evaluate([Criterion(**criterion)], METRICS)
    return result


def test_bounds_are_met_or_not():
    assert judge(metric="finetuned.auroc.low", min=0.83).passed
    assert judge(metric="finetuned.auroc.low", max=0.83).passed
    assert not judge(metric="finetuned.auroc.low", min=0.84).passed
    assert not judge(metric="finetuned.auroc.low", max=0.82).passed
    assert judge(metric="transfer.verdict", not_equal="neutral").passed
    assert not judge(metric="transfer.verdict", not_equal="negative").passed


def test_an_undefined_figure_fails_with_its_reason():
    result = judge(metric="scratch.auroc.low", max=1.0)
    assert not result.passed
    assert result.reason == "undefined (only one class among the units)"
    nan = judge(metric="calibration.brier", max=9)
    assert not nan.passed
    assert nan.value is None


def test_a_figure_that_is_not_there_fails_and_the_nearest_is_named():
    result = judge(metric="finetuned.auroc.lo", min=0.1)
    assert not result.passed
    assert "the nearest is finetuned.auroc.low" in result.reason


def test_words_under_a_numeric_bound_fail():
    assert "'negative' is no number" in judge(metric="transfer.verdict", min=0.5).reason


def test_the_error_names_each_failed_criterion_and_no_other():
    criteria = [
        Criterion(metric="finetuned.auroc.value", min=0.95),
        Criterion(metric="finetuned.auroc.high", min=0.90),
        Criterion(metric="transfer.verdict", not_equal="negative"),
    ]
    with pytest.raises(AcceptanceError) as caught:
        require(evaluate(criteria, METRICS))
    message = str(caught.value)
    assert "finetuned.auroc.value at least 0.95" in message
    assert "0.91" in message
    assert "transfer.verdict other than negative" in message
    assert "2 of 3 criteria failed" in message
    assert "finetuned.auroc.high" not in message


def test_all_passed_is_silent():
    require(evaluate([Criterion(metric="finetuned.auroc.value", min=0.9)], METRICS))


def test_data_without_source_or_licence_is_refused():
    data = Data(dicom_dir="/d", labels="/l.csv", label_level="series", source="Somewhere", licence="  ")
    source, licence = permission(data)
    assert source.passed
    assert not licence.passed
    assert licence.metric == "data.licence"
