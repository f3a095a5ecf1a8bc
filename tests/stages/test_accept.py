from pathlib import Path

import pytest

from pipeline.clinical import ledger
from pipeline.config import load
from pipeline.errors import AcceptanceError
from pipeline.files import read_json, write_json
from pipeline.stages.accept import accept
from pipeline.validation_config import Criterion


@pytest.fixture
def params(root, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    criteria = [Criterion(metric="finetuned.auroc.low", min=0.7), Criterion(metric="calibration.brier", max=0.2)]
    return load(root / "params.yaml").model_copy(update={"accept": criteria})


def metrics(folder, low, verdict="neutral", confirmed=True):
    figures = {
        "finetuned": {"auroc": {"low": low}},
        "calibration": {"brier": 0.1},
        "transfer": {"verdict": verdict},
        "leakage": {"near": 0},
        "test_set": {"threshold_moved": False},
        "precision": {"confirmed": confirmed},
    }
    write_json(folder / "reports/metrics.json", figures)


def test_a_good_model_is_accepted(params, tmp_path):
    metrics(tmp_path, 0.8)
    accept(params)
    written = read_json(tmp_path / "reports/acceptance.json")
    assert written["accepted"] is True
    assert written["criteria"][0] == {
        "metric": "finetuned.auroc.low",
        "bound": "at least 0.7",
        "value": 0.8,
        "passed": True,
        "reason": None,
        "waived": False,
        "waiver": None,
        "unreachable": False,
    }


@pytest.mark.parametrize("low", [0.6, float("nan")])
def test_a_poor_model_is_refused_by_name_and_written_down(params, tmp_path, low):
    metrics(tmp_path, low)
    with pytest.raises(AcceptanceError, match=r"finetuned\.auroc\.low at least 0\.7"):
        accept(params)
    written = read_json(tmp_path / "reports/acceptance.json")
    assert written["accepted"] is False
    assert [row["passed"] for row in written["criteria"]] == [False, *[True] * 7]


def test_negative_transfer_is_refused_though_no_criterion_names_it(params, tmp_path):
    metrics(tmp_path, 0.8, "negative")
    with pytest.raises(AcceptanceError, match="transfer.verdict other than negative"):
        accept(params)
    assert read_json(tmp_path / "reports/acceptance.json")["accepted"] is False


def test_a_precision_that_test_patients_do_not_confirm_is_refused_though_no_criterion_names_it(params, tmp_path):
    metrics(tmp_path, 0.8, confirmed=False)
    with pytest.raises(AcceptanceError, match="precision.confirmed other than false"):
        accept(params)
    waiver = {"by": "Dr. Ada Example", "reason": "fp32 alone is run"}
    asked = [*params.accept, Criterion(metric="precision.confirmed", not_equal="false", waiver=waiver)]
    accept(params.model_copy(update={"accept": asked}))
    assert read_json(tmp_path / "reports/acceptance.json")["accepted"] is True


def test_a_waiver_lets_it_pass_and_is_written_down(params, tmp_path, capfd):
    waiver = {"by": "Dr. Ada Example", "reason": "for a comparison of backbones"}
    asked = [*params.accept, Criterion(metric="transfer.verdict", not_equal="negative", waiver=waiver)]
    waived = params.model_copy(update={"accept": asked})
    metrics(tmp_path, 0.8, "negative")
    accept(waived)
    written = read_json(tmp_path / "reports/acceptance.json")
    entry = next(row for row in written["criteria"] if row["metric"] == "transfer.verdict")
    assert written["accepted"] is True
    assert (entry["passed"], entry["waived"], entry["waiver"]) == (False, True, waiver)
    assert "FAIL, waived by Dr. Ada Example (is negative): transfer.verdict" in capfd.readouterr().err
    metrics(tmp_path, 0.8, "positive")
    accept(waived)
    assert "its waiver is not needed" in capfd.readouterr().err


@pytest.mark.parametrize("key", ["source", "licence"])
def test_data_used_without_a_stated_right_is_refused(params, tmp_path, key):
    metrics(tmp_path, 0.8)
    with pytest.raises(AcceptanceError, match=rf"data\.{key} stated"):
        accept(params.model_copy(update={"data": params.data.model_copy(update={key: " "})}))
    assert read_json(tmp_path / "reports/acceptance.json")["accepted"] is False


def test_own_scans_are_refused_under_the_words_of_the_demo(params, tmp_path):
    metrics(tmp_path, 0.8)
    own = params.data.model_copy(update={"dicom_dir": Path("/scans"), "labels": Path("/labels.csv")})
    with pytest.raises(AcceptanceError, match=r"data\.licence stated.*in params\.yaml the source of your own data"):
        accept(params.model_copy(update={"data": own}))
    assert read_json(tmp_path / "reports/acceptance.json")["accepted"] is False
    stated = own.model_copy(update={"source": "Hospital B", "licence": "CC BY 4.0"})
    accept(params.model_copy(update={"data": stated}))


def test_the_ledger_is_counted_anew(params, tmp_path):
    metrics(tmp_path, 0.8)
    path, opening = tmp_path / "reports/ledger.csv", ledger.Key("split", "model", "calibration")
    figures = read_json(tmp_path / "reports/metrics.json")
    figures["test_set"] = ledger.record(path, opening, 20).figures()
    write_json(tmp_path / "reports/metrics.json", figures)
    asked = params.model_copy(update={"accept": [*params.accept, Criterion(metric="test_set.opened", max=1)]})
    accept(asked)
    assert read_json(tmp_path / "reports/acceptance.json")["test_set"] == figures["test_set"]
    ledger.record(path, ledger.Key("split", "another model", "calibration"), 20)
    with pytest.raises(AcceptanceError, match=r"test_set\.opened at most 1"):
        accept(asked)
    found = read_json(tmp_path / "reports/acceptance.json")["test_set"]
    assert (found["opened"], found["models"]) == (2, 2)
    path.unlink()
    accept(asked)
