import itertools
from pathlib import Path

import numpy as np
import pytest
from sklearn.metrics import roc_auc_score

from pipeline.clinical import baselines
from pipeline.clinical.acceptance import evaluate
from pipeline.clinical.units import units_of
from pipeline.config import load
from pipeline.errors import ContractError, LeakageError
from pipeline.files import read_csv, read_json, write_csv, write_json
from pipeline.stages.calibrate import calibrate
from pipeline.stages.validate import validate
from pipeline.transfer import advisor
from pipeline.validation_config import Compared, Criterion
from tests.pretrained import embedded_card
from tests.stages.conftest import SIZE
from tests.transfer.test_advisor import candidate, known


@pytest.fixture
def params(root):
    shipped = load(root / "params.yaml")
    return shipped.model_copy(update={"prepare": shipped.prepare.model_copy(update={"size": SIZE})})


@pytest.fixture
def calibrated(trained, params, export_once):
    calibrate(params)
    export_once(params)
    return trained


def test_the_figures_are_those_of_the_predictions(calibrated, params):
    validate(params)
    rows = read_csv(calibrated / "reports/predictions.csv")
    assert len(rows) == 20
    assert {row["split"] for row in rows} == {"test"}
    labels = np.array([int(row["label"]) for row in rows])
    metrics = read_json(calibrated / "reports/metrics.json")
    for name in ("finetuned", "scratch", "probe"):
        expected = roc_auc_score(labels, [float(row[f"logit_{name}"]) for row in rows])
        assert metrics[name]["auroc"]["value"] == pytest.approx(expected, abs=1e-6)
    probabilities = np.array([float(row["probability"]) for row in rows])
    point = metrics["operating_point"]
    calls = probabilities >= point["threshold"]
    assert point["sensitivity"]["value"] == pytest.approx(calls[labels == 1].mean(), abs=1e-6)
    assert point["specificity"]["value"] == pytest.approx((~calls[labels == 0]).mean(), abs=1e-6)
    assert metrics["calibration"]["brier"]["value"] == pytest.approx(np.mean((probabilities - labels) ** 2), abs=1e-5)
    assert metrics["test"] == {"patients": 20, "units": 20, "positives": 10}
    assert metrics["backbone"] == {
        "name": "test_resnet",
        "weights": "file",
        "origin": "test_resnet.safetensors",
        "sha256": "12" * 32,
        "verified": "not verified",
        "licence": "apache-2.0",
    }
    assert metrics["probe"]["auroc"]["value"] > 0.8  # features and slices of the right rows met


def test_the_metrics_say_how_an_embedded_backbone_was_trained(calibrated, params):
    write_json(calibrated / "models/backbone/card.json", embedded_card())
    validate(params)
    found = read_json(calibrated / "reports/metrics.json")["backbone"]
    assert found["origin"] == "embedded: ImageNet subset, 200 classes, 64x64"
    assert {key: found[key] for key in ("data", "top1", "top1_images")} == {
        "data": "ImageNet subset, 200 classes, 64x64",
        "top1": 0.5512,
        "top1_images": 10000,
    }
    html = (calibrated / "reports/report.html").read_text()
    assert "resnet10t, embedded: ImageNet subset, 200 classes, 64x64. Top-1 55.1 % of 10000" in html
    assert "<strong>No commercial use" in html


def test_the_shipped_criteria_name_figures_that_are_written(calibrated, params):
    validate(params)
    for result in evaluate(params.accept, read_json(calibrated / "reports/metrics.json")):
        assert "no such figure" not in (result.reason or "")


def test_equal_inputs_give_equal_bytes(calibrated, params):
    def everything():
        validate(params)
        return {path: path.read_bytes() for path in (calibrated / "reports").rglob("*") if path.is_file()}

    first = everything()
    assert {path.name for path in first} == {
        "metrics.json",
        "predictions.csv",
        "report.html",
        "roc.csv",
        "calibration.csv",
        "confusion.csv",
        "subgroups.csv",
        "ledger.csv",
        "precision_recall.csv",
        "decision_curve.csv",
    }
    assert everything() == first


def test_the_report_holds_the_examples_and_the_patients(calibrated, params):
    validate(params)
    html = (calibrated / "reports/report.html").read_text()
    assert html.count("data:image/png") >= 4
    assert "a localizer" in html
    assert "40 in all: 8 to learn from, 12 to choose by, 20 to test on" in html
    assert "ACME" in html


def test_the_indicators_are_those_of_the_validation_units(calibrated, params):
    validate(params)
    found = read_json(calibrated / "reports/metrics.json")["transfer"]
    labels = [i % 2 for i in range(8, 20)]  # as the fixture makes the validation side
    with np.load("models/finetuned/curve.npz") as finetuned, np.load("models/scratch/curve.npz") as scratch:
        courses = {"finetuned": finetuned["logits"], "scratch": scratch["logits"]}
    aurocs = {name: [roc_auc_score(labels, row[:, 0]) for row in logits] for name, logits in courses.items()}
    assert found["head_start"]["finetuned"] == pytest.approx(max(aurocs["finetuned"][1:3]), abs=1e-6)
    assert found["head_start"]["scratch"] == 0.5
    assert found["time_to_threshold"]["level"] == pytest.approx(max(aurocs["scratch"]), abs=1e-6)
    expected = max(aurocs["finetuned"]) - max(aurocs["scratch"])
    assert found["final_level"]["value"] == pytest.approx(expected, abs=2e-6)
    assert found["budget"]["finetuned"]["trunk_epochs"] == 2
    trunk = [phase.epochs for phase in params.finetune.phases if phase.trunk != 0]
    assert found["budget"]["finetuned"]["allowed_trunk_epochs"] == sum(trunk)
    assert {"verdict", "difference", "low", "high"} <= found.keys()


def test_the_report_shows_waivers_and_advice(calibrated, params):
    criterion = Criterion(
        metric="calibration.brier.value", max=0.0, waiver={"by": "Dr. Ada Example", "reason": "a trial"}
    )
    advice = advisor.decide(known(3, net=candidate(-0.4, 0.37)))
    write_json(calibrated / "reports/transferability.json", {"advice": advice})
    validate(params.model_copy(update={"accept": [criterion]}))
    html = (calibrated / "reports/report.html").read_text()
    assert "<li>Training: freeze. The images are near to those of the backbone (distance 0.37), and the rarest" in html
    assert "“calibration.brier.value at most 0” is missed. Dr. Ada Example answers for it: a trial" in html


@pytest.mark.parametrize("name", ["finetuned", "scratch"])
def test_a_training_without_its_curve_is_refused(calibrated, params, name):
    (calibrated / "models" / name / "curve.npz").unlink()
    with pytest.raises(ContractError, match=rf"models/{name}/curve\.npz; found no such file"):
        validate(params)


def test_a_curve_of_other_validation_units_is_refused(calibrated, params):
    rows = read_csv(calibrated / "data/prepared/slices.csv")
    kept = [row["patient"] != "p08" for row in rows]
    write_csv(calibrated / "data/prepared/slices.csv", rows[0], list(itertools.compress(rows, kept)))
    pixels = np.load(calibrated / "data/prepared/slices.npy")
    np.save(calibrated / "data/prepared/slices.npy", pixels[kept])
    with pytest.raises(ContractError, match="11 validation units and 1 outputs; found 5 x 12 x 1"):
        validate(params)


def test_a_calibration_of_another_model_is_refused(calibrated, params):
    path = calibrated / "models/finetuned/model.safetensors"
    path.write_bytes((calibrated / "models/scratch/model.safetensors").read_bytes())
    with pytest.raises(ContractError, match=r"the model that .*calibration\.json was made for.*dvc repro calibrate"):
        validate(params)
    assert not (calibrated / "reports").exists()


def test_a_calibration_of_another_split_is_refused(calibrated, params):
    rows = read_csv(calibrated / "data/split.csv")
    write_csv(calibrated / "data/split.csv", rows[0], rows[::-1])
    with pytest.raises(ContractError, match="the split that"):
        validate(params)


def test_a_patient_on_two_sides_is_refused(calibrated, params):
    rows = read_csv(calibrated / "data/prepared/slices.csv")
    rows[0]["split"] = "test"
    write_csv(calibrated / "data/prepared/slices.csv", rows[0], rows)
    with pytest.raises(LeakageError, match="patient p00 on train and test"):
        validate(params)


def test_another_release_is_compared_by_its_own_predictions(calibrated, params):
    """Its `predictions.csv`, as this stage writes them, is the file that is asked for."""
    validate(params)
    own = read_json(Path("reports/metrics.json"))
    (calibrated / "reports/predictions.csv").rename(calibrated / "old.csv")
    asked = params.validate_.model_copy(update={"compare": [Compared(name="old", predictions=Path("old.csv"))]})
    validate(params.model_copy(update={"validate_": asked}))
    found = read_json(Path("reports/metrics.json"))["comparison"]
    assert set(found) == {"scratch", "probe", "old"}
    assert found["old"]["auroc"]["value"] == own["finetuned"]["auroc"]["value"]
    assert found["old"]["auroc_difference"]["value"] == 0
    assert found["old"]["p_value"] is None
    assert "does not vary between the patients" in found["old"]["reason"]
    assert found["old"]["mcnemar"] == {"only_this": 0, "only_other": 0, "p_value": 1, "method": "McNemar, exact"}
    rows = read_csv(calibrated / "old.csv")
    write_csv(calibrated / "old.csv", rows[0], rows[1:])
    with pytest.raises(ContractError, match="one row for each of the 20 test units"):
        validate(params.model_copy(update={"validate_": asked}))


def test_control_and_probe_are_called_at_thresholds_of_validation(calibrated, params, monkeypatch):
    given, called = [], baselines.called
    monkeypatch.setattr(baselines, "called", lambda *sides: given.append(sides) or called(*sides))
    validate(params)
    rows = read_csv(Path("data/prepared/slices.csv"))
    val, test = units_of(rows, "val"), units_of(rows, "test")
    assert len(given) == 2
    for labels, on_validation, on_test, *_ in given:
        np.testing.assert_array_equal(labels, val.labels)
        assert (len(on_validation), len(on_test)) == (len(val.ids), len(test.ids))
    found = read_json(Path("reports/metrics.json"))["comparison"]
    for name in ("scratch", "probe"):
        assert {"only_this", "only_other", "p_value", "method"} == found[name]["mcnemar"].keys()
        assert found[name]["auroc_difference"]["method"] == "DeLong, paired"


def net_benefit(rows, threshold):
    """Of predictions.csv."""
    odds = threshold / (1 - threshold)
    return np.mean([(row["label"] == "1" or -odds) * (float(row["probability"]) >= threshold) for row in rows])


def test_the_tables_for_plots_are_the_figures(calibrated, params):
    validate(params)
    figures, plots = read_json(Path("reports/metrics.json")), Path("reports/plots")
    point, rows = figures["operating_point"], read_csv(Path("reports/predictions.csv"))
    assert {float(row["threshold"]) for row in rows} == {point["threshold"]}
    decided = read_csv(plots / "decision_curve.csv")
    assert list(decided[0]) == ["threshold", "model", "low", "high", "treat_all", "treat_none"]
    worth = figures["usefulness"]["net_benefit"]["value"]
    for row in [*decided, {"threshold": point["threshold"], "model": worth}]:
        assert float(row["model"]) == pytest.approx(net_benefit(rows, float(row["threshold"])), abs=1e-6)
    assert figures["usefulness"]["threshold_odds"] == pytest.approx(
        point["threshold"] / (1 - point["threshold"]), abs=1e-5
    )
    precision = read_csv(plots / "precision_recall.csv")
    assert list(precision[0]) == ["recall", "finetuned", "probe", "scratch"]
    assert float(precision[-1]["finetuned"]) >= figures["prevalence"] - 1e-6  # at full recall it is at least that
    bins = read_csv(plots / "calibration.csv")
    assert list(bins[0]) == ["predicted", "observed", "low", "high", "units"]
    assert sum(int(row["units"]) for row in bins) == figures["test"]["units"]
    assert all(float(row["low"]) <= float(row["observed"]) <= float(row["high"]) for row in bins)


def test_patients_of_several_series_have_figures_of_their_own(calibrated, params):
    """Two series of each patient: the labels' level is series, above it stand study (unknown here) and patient."""
    rows = read_csv(calibrated / "data/prepared/slices.csv")
    for row in rows:
        number = int(row["patient"][1:])
        if row["split"] == "test":
            row["patient"] = f"p{20 + (number - 20) // 4 * 4 + number % 2}"  # of one label
    write_csv(calibrated / "data/prepared/slices.csv", rows[0], rows)
    validate(params)
    found = read_json(Path("reports/metrics.json"))
    assert found["test"]["patients"] == 10
    assert found["finetuned"]["auroc"]["method"] == "jackknife of patients, logit"
    assert list(found["levels"]) == ["patient"]
    assert found["levels"]["patient"]["units"] == 10
    assert found["levels"]["patient"]["auroc"]["method"] == "DeLong, logit"
