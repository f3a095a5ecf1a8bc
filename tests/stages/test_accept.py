import pytest

from pipeline.config import Criterion, load
from pipeline.errors import AcceptanceError
from pipeline.files import read_json, write_json
from pipeline.stages.accept import accept


@pytest.fixture
def params(root, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    criteria = [Criterion(metric="finetuned.auroc.low", min=0.7), Criterion(metric="calibration.brier", max=0.2)]
    return load(root / "params.yaml").model_copy(update={"accept": criteria})


def metrics(folder, low):
    write_json(folder / "reports/metrics.json", {"finetuned": {"auroc": {"low": low}}, "calibration": {"brier": 0.1}})


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
    }


@pytest.mark.parametrize("low", [0.6, float("nan")])
def test_a_poor_model_is_refused_by_name_and_written_down(params, tmp_path, low):
    metrics(tmp_path, low)
    with pytest.raises(AcceptanceError, match=r"finetuned\.auroc\.low at least 0\.7"):
        accept(params)
    written = read_json(tmp_path / "reports/acceptance.json")
    assert written["accepted"] is False
    assert [row["passed"] for row in written["criteria"]] == [False, True, True, True]
