"""What must not pass unnoticed: one patient under two names, a slice in disguise, a threshold moved, a worse group."""

import numpy as np
import pytest

from pipeline.clinical import acceptance
from pipeline.config import load
from pipeline.errors import AcceptanceError, ContractError, LeakageError, LedgerError
from pipeline.files import read_csv, read_json, write_csv, write_json
from pipeline.stages.accept import accept
from pipeline.stages.calibrate import calibrate
from pipeline.stages.validate import validate
from pipeline.validation_config import SHORT, Criterion, ThresholdRule
from tests.heads import head, rescaled
from tests.stages.conftest import SIZE

WAIVER = {"by": "Dr. Ada Example", "reason": "a trial"}
SLICES = "data/prepared/slices.npy"
BRIGHTNESS = {"0": 1.2, "1": 0.6}  # of the two labels; the network of the fixture answers to it


@pytest.fixture
def params(root):
    shipped = load(root / "params.yaml")
    return shipped.model_copy(update={"prepare": shipped.prepare.model_copy(update={"size": SIZE})})


@pytest.fixture
def project(trained, params, export_once):
    """Every slice a head of its own, calibrated."""
    labels = [row["label"] for row in read_csv(trained / "data/prepared/slices.csv")]
    np.save(trained / SLICES, np.stack([head(i, SIZE, BRIGHTNESS[label]) for i, label in enumerate(labels)]))
    calibrate(params)
    export_once(params)
    return trained


def of_patient(project, patient):
    rows = read_csv(project / "data/prepared/slices.csv")
    return [place for place, row in enumerate(rows) if row["patient"] == patient]


def metrics(project):
    return read_json(project / "reports/metrics.json")


def criterion(project, metric):
    rows = read_json(project / "reports/acceptance.json")["criteria"]
    return next(row for row in rows if row["metric"] == metric)


def only(params, *criteria):
    return params.model_copy(update={"accept": list(criteria)})


HARMLESS = Criterion(metric="transfer.verdict", not_equal="negative", waiver=WAIVER)


def test_without_a_fault_nothing_is_found(project, params):
    validate(params)
    found = metrics(project)
    assert (found["leakage"]["near"], found["leakage"]["findings"], found["leakage"]["patients"]) == (0, [], 40)
    assert (found["test_set"]["opened"], found["test_set"]["threshold_moved"]) == (1, False)
    accept(only(params, HARMLESS))
    named = dict(acceptance._flat(found))
    assert [metric for metric, _ in SHORT.values() if not isinstance(named[metric], (int, float))] == []
    way = found["flow"]
    assert way["sides"]["test"] == {"patients": 20, "series": 20, "units": found["test"]["units"], "slices": 60}
    assert way["series_found"] == way["series_refused"] + way["series_ingested"] == 41
    assert way["series_labelled"] == sum(side["series"] for side in way["sides"].values()) == 40


def test_a_patient_on_both_sides_under_two_identifiers_with_equal_pixels(project, params):
    slices = np.load(project / SLICES)
    slices[of_patient(project, "p25")] = slices[of_patient(project, "p03")]
    np.save(project / SLICES, slices)
    with pytest.raises(
        LeakageError, match=r"3 slices with equal pixels under the patients p03 \(train\) and p25 \(test\)"
    ):
        validate(params)
    assert not (project / "reports/ledger.csv").exists()  # the test set stays shut
    assert not (project / "reports/metrics.json").exists()


DISGUISES = {"flipped": lambda picture: picture[:, ::-1], "rescaled": lambda picture: rescaled(picture, 0.8)}


@pytest.mark.parametrize("how", DISGUISES)
def test_the_same_slice_in_disguise(project, params, how):
    slices = np.load(project / SLICES)
    slices[of_patient(project, "p25")[0]] = DISGUISES[how](slices[of_patient(project, "p03")[0]])
    np.save(project / SLICES, slices)
    validate(params)
    found = metrics(project)["leakage"]
    assert found["near"] == 1
    assert set(found["findings"][0]["patients"]) == {"p03", "p25"}
    with pytest.raises(AcceptanceError, match=r"leakage\.near at most 0"):
        accept(only(params, HARMLESS))
    accept(only(params, HARMLESS, Criterion(near_duplicates=0, waiver=WAIVER)))
    assert criterion(project, "leakage.near")["waived"]


def test_a_threshold_moved_after_the_test_set_was_opened(project, params):
    validate(params)
    first = (project / "models/calibration.json").read_bytes()
    moved = params.calibrate.model_copy(update={"threshold": ThresholdRule(rule="sensitivity", target=0.5)})
    calibrate(params.model_copy(update={"calibrate": moved}))
    assert (project / "models/calibration.json").read_bytes() != first
    validate(params)
    found = metrics(project)["test_set"]
    assert (found["opened"], found["models"], found["threshold_moved"]) == (2, 1, True)
    with pytest.raises(AcceptanceError, match="threshold_moved other than true"):
        accept(only(params, HARMLESS))
    accept(only(params, HARMLESS, Criterion(metric="test_set.threshold_moved", not_equal="true", waiver=WAIVER)))
    (project / "models/calibration.json").write_bytes(first)
    validate(params)
    assert metrics(project)["test_set"]["threshold_moved"] is False


def test_a_threshold_moved_behind_a_split_written_anew(project, params):
    """The same patients on the same sides, in a file of other bytes."""
    validate(params)
    rows = read_csv(project / "data/split.csv")
    write_csv(project / "data/split.csv", rows[0], [{**row, "site": "elsewhere"} for row in rows[::-1]])
    moved = params.calibrate.model_copy(update={"threshold": ThresholdRule(rule="sensitivity", target=0.5)})
    calibrate(params.model_copy(update={"calibrate": moved}))
    validate(params)
    found = metrics(project)["test_set"]
    assert (found["opened"], found["splits"], found["threshold_moved"]) == (2, 1, True)


def test_a_threshold_moved_by_hand_in_the_file(project, params):
    path = project / "models/calibration.json"
    write_json(path, read_json(path) | {"threshold": 0.123})
    with pytest.raises(ContractError, match="changed by hand"):
        validate(params)
    fixed = read_json(path)
    fixed.pop("calibration_sha256")
    write_json(path, fixed)
    with pytest.raises(ContractError, match="no calibration_sha256"):
        validate(params)
    assert not (project / "reports/ledger.csv").exists()


def test_a_ledger_with_a_line_less(project, params):
    validate(params)
    calibrate(params.model_copy(update={"calibrate": params.calibrate.model_copy(update={"calibrator": "isotonic"})}))
    validate(params)
    path = project / "reports/ledger.csv"
    lines = path.read_text().splitlines(keepends=True)
    path.write_text(lines[0] + lines[2])
    with pytest.raises(LedgerError, match="follows a line that is not there"):
        validate(params)


def test_a_subgroup_made_worse(project, params):
    """The positives of one vendor look as negatives do."""
    index = read_csv(project / "data/ingested/index.csv")
    for row in index:
        row["vendor"] = "ACME" if int(row["patient"][1:]) // 2 % 2 else "Other"
    write_csv(project / "data/ingested/index.csv", index[0], index)
    asked = only(params, Criterion(sensitivity=0.7), HARMLESS)
    validate(asked)
    before = {group["group"]: group for group in metrics(project)["subgroups"] if group["attribute"] == "vendor"}
    assert [group["warning"] for group in before.values()] == [None, None]
    slices = np.load(project / SLICES)
    for row in index:
        if row["vendor"] == "Other" and row["patient"] >= "p20":
            for place in of_patient(project, row["patient"]):
                slices[place] = head(place, 32, BRIGHTNESS["0"])
    np.save(project / SLICES, slices)
    validate(asked)
    found = {group["group"]: group for group in metrics(project)["subgroups"] if group["attribute"] == "vendor"}
    assert found["Other"]["warning"].startswith("sensitivity is below 0.7")
    assert found["Other"]["small"]
    assert found["Other"]["gap"]["high"] < 0 < found["ACME"]["gap"]["low"]
    assert found["ACME"]["warning"] is None
    table = read_csv(project / "reports/plots/subgroups.csv")
    assert [row["warning"] != "" for row in table if row["attribute"] == "vendor"] == [False, True]


def test_a_criterion_beyond_twenty_patients_says_so(project, params):
    validate(params)
    with pytest.raises(AcceptanceError):
        accept(only(params, Criterion(sensitivity_lower_ci=0.9), HARMLESS))
    found = criterion(project, "operating_point.sensitivity.low")
    assert found["unreachable"]
    assert "even without an error these test patients give at most 0.72" in found["reason"]


def test_an_isotonic_calibration_goes_through(project, params):
    isotonic = params.calibrate.model_copy(update={"calibrator": "isotonic"})
    calibrate(params.model_copy(update={"calibrate": isotonic}))
    validate(params)
    fixed = read_json(project / "models/calibration.json")
    (knots,) = fixed["knots"]
    assert metrics(project)["calibration"]["calibrator"] == "isotonic"
    assert "temperature" not in metrics(project)["calibration"]
    assert ", isotonic" in (project / "reports/report.html").read_text()
    for row in read_csv(project / "reports/predictions.csv"):
        expected = np.interp(float(row["logit_finetuned"]), knots["logits"], knots["probabilities"])
        assert float(row["probability"]) == pytest.approx(expected, abs=1e-3)
