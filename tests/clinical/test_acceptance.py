import pytest

from pipeline.clinical.acceptance import evaluate, permission, require
from pipeline.data_config import Data
from pipeline.errors import AcceptanceError
from pipeline.validation_config import Criterion

METRICS = {
    "finetuned": {"auroc": {"value": 0.91, "low": 0.83, "high": 0.97}},
    "scratch": {"auroc": {"value": None, "low": None, "high": None, "reason": "only one class among the units"}},
    "calibration": {"brier": float("nan")},
    "transfer": {"verdict": "negative"},
    "leakage": {"near": 0},
    "test_set": {"threshold_moved": False},
    "precision": {"confirmed": True},
}


def judge(**criterion):
    return evaluate([Criterion(**criterion)], METRICS)[0]


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
    assert "2 of 6 criteria failed" in message
    assert "finetuned.auroc.high" not in message


def test_all_passed_is_silent():
    helped = METRICS | {"transfer": {"verdict": "positive"}}
    require(evaluate([Criterion(metric="finetuned.auroc.value", min=0.9)], helped))


def test_data_without_source_or_licence_is_refused():
    data = Data(dicom_dir="/d", labels="/l.csv", label_level="series", source="Somewhere", licence="  ")
    source, licence = permission(data)
    assert source.passed
    assert not licence.passed
    assert licence.metric == "data.licence"


DEMO = {"dicom_dir": "data/demo/dicom", "labels": "data/demo/labels.csv"}


@pytest.mark.parametrize("own", [{"dicom_dir": "/scans"}, {"labels": "/labels.csv"}, {"labels": "labels.csv"}])
def test_the_words_of_the_demo_are_of_no_other_data(own):
    """Whether they were never there for these data, or were written for the demo and left."""
    shipped = Data(**DEMO, label_level="series", source=None, licence=None)
    assert all(result.passed and "MNI152" in result.value for result in permission(shipped))
    untouched = Data(**DEMO | own, label_level="series", source=None, licence=None)
    left = untouched.model_copy(update={"source": shipped.source, "licence": shipped.licence})
    for data in (untouched, left):
        with pytest.raises(AcceptanceError) as caught:
            require(permission(data))
        for key in ("source", "licence"):
            assert f"data.{key} stated" in str(caught.value)
            assert f"write in params.yaml the {key} of your own data" in str(caught.value)
    half = left.model_copy(update={"source": "Hospital B"})
    assert [result.passed for result in permission(half)] == [True, False]


WAIVER = {"by": "Dr. Ada Example", "reason": "compared with the older model in a reader study"}
NO_HARM = {"metric": "transfer.verdict", "not_equal": "negative"}


def outcome(verdict, *criteria, **figures):
    """How the criterion on transfer went for a verdict; there is exactly one."""
    metrics = {"transfer": {"verdict": verdict, **figures}, "finetuned": {"auroc": {"value": 0.9}}}
    (result,) = [r for r in evaluate(criteria, metrics) if r.metric == "transfer.verdict" and "negative" in r.bound]
    return result


@pytest.mark.parametrize("asked", [[], [Criterion(**NO_HARM)], [Criterion(metric="transfer.verdict", not_equal="x")]])
def test_negative_transfer_fails_whatever_is_asked(asked):
    assert outcome("positive", *asked).passed
    assert outcome("neutral", *asked).passed
    failed = outcome("negative", *asked)
    assert not failed.passed
    with pytest.raises(AcceptanceError, match="transfer.verdict other than negative"):
        require([failed])


def test_an_undefined_verdict_fails_with_its_reason():
    result = outcome(None, reason="only one class among the units")
    assert not result.passed
    assert result.reason == "undefined (only one class among the units)"


def test_a_figure_of_transfer_that_was_never_written_fails():
    assert not evaluate([], {"finetuned": {"auroc": {"value": 0.9}}})[0].passed


def test_a_waived_criterion_has_failed_and_lets_pass():
    result = outcome("negative", Criterion(**NO_HARM, waiver=WAIVER))
    assert (result.passed, result.waived) == (False, True)
    assert result.record()["waiver"] == WAIVER
    assert result.record()["waived"] is True
    require([result])


def test_a_waiver_of_a_criterion_that_is_met_has_no_effect():
    result = outcome("neutral", Criterion(**NO_HARM, waiver=WAIVER))
    assert (result.passed, result.waived) == (True, False)
    assert result.record()["waived"] is False


def test_a_waiver_of_one_criterion_is_none_of_another():
    waived = Criterion(metric="finetuned.auroc.low", min=0.99, waiver=WAIVER)
    with pytest.raises(AcceptanceError) as caught:
        require(evaluate([waived], METRICS))
    assert "transfer.verdict" in str(caught.value)
    assert "finetuned" not in str(caught.value)


def test_a_figure_that_does_not_exist_cannot_be_waived():
    result = judge(metric="transfer.verdit", not_equal="negative", waiver=WAIVER)
    assert not result.passed
    assert not result.waived


def test_duplicates_a_moved_threshold_and_an_unconfirmed_precision_fail_whatever_is_asked():
    metrics = METRICS | {"transfer": {"verdict": "positive"}}
    require(evaluate([], metrics))
    for section, figures, message in (
        ("leakage", {"near": 3}, "leakage.near at most 0"),
        ("test_set", {"threshold_moved": True}, "test_set.threshold_moved other than true"),
        ("precision", {"confirmed": False}, "precision.confirmed other than false"),
    ):
        with pytest.raises(AcceptanceError, match=message):
            require(evaluate([], metrics | {section: figures}))
        without = {name: figure for name, figure in metrics.items() if name != section}
        with pytest.raises(AcceptanceError, match="no such figure"):
            require(evaluate([], without))


def test_what_is_always_asked_can_be_waived_in_writing():
    metrics = METRICS | {"transfer": {"verdict": "positive"}, "leakage": {"near": 3}}
    metrics |= {"test_set": {"threshold_moved": True}, "precision": {"confirmed": False}}
    waived = [
        Criterion(metric="leakage.near", max=0, waiver=WAIVER),
        Criterion(metric="test_set.threshold_moved", not_equal="true", waiver=WAIVER),
        Criterion(metric="precision.confirmed", not_equal="false", waiver=WAIVER),
    ]
    results = evaluate(waived, metrics)
    require(results)
    assert [result.metric for result in results if result.waived] == [criterion.metric for criterion in waived]
    assert results[1].value == "true"
    # A larger bound of one's own replaces nothing.
    with pytest.raises(AcceptanceError, match="leakage.near at most 0"):
        require(evaluate([Criterion(metric="leakage.near", max=10)], metrics))


@pytest.mark.parametrize(("low", "best", "unreachable"), [(0.7, 0.83, True), (0.7, 0.86, False), (0.9, 0.83, False)])
def test_a_criterion_beyond_what_the_test_patients_can_show_says_so(low, best, unreachable):
    metrics = {
        "operating_point": {"sensitivity": {"low": low}},
        "reachable": {"operating_point": {"sensitivity": {"low": best}}},
    }
    result = evaluate([Criterion(sensitivity_lower_ci=0.85)], metrics)[0]
    assert result.record()["unreachable"] is unreachable
    assert result.passed is (low >= 0.85)
    assert ("even without an error these test patients give at most 0.83" in (result.reason or "")) is unreachable


def test_an_undefined_figure_that_could_not_be_met_fails_too():
    metrics = {
        "operating_point": {"sensitivity": {"low": None, "reason": "no positive unit"}},
        "reachable": {"operating_point": {"sensitivity": {"low": None}}},
    }
    result = evaluate([Criterion(sensitivity_lower_ci=0.85)], metrics)[0]
    assert (result.passed, result.unreachable) == (False, False)
