import numpy as np
import pytest
from scipy.special import expit, softmax
from sklearn.isotonic import IsotonicRegression

from pipeline.calibrator import Calibration
from pipeline.clinical import calibration
from pipeline.errors import ContractError, SplitError, TrainingError
from pipeline.files import sha256_file, write_json
from pipeline.targets import BINARY, Targets, calls
from pipeline.validation_config import Calibrate, ThresholdRule

YOUDEN = ThresholdRule(rule="youden")
SETTINGS = Calibrate(threshold=YOUDEN)


def probabilities(logits, temperature):
    return BINARY.probabilities(logits[:, None], temperature)[:, 0]


def fit(labels, logits, rule, calibrator="temperature"):
    settings = Calibrate(calibrator=calibrator, threshold=rule)
    return calibration.fit(labels[:, None], logits[:, None], settings, BINARY)


def target(value):
    return ThresholdRule(rule="sensitivity", target=value)


@pytest.mark.parametrize("temperature", [0.4, 1.0, 3.0])
def test_a_known_temperature_is_recovered(temperature):
    rng = np.random.default_rng(0)
    true_logits = rng.normal(scale=2, size=20000)
    labels = (rng.random(20000) < expit(true_logits)).astype(np.int64)
    assert calibration.fit_temperature(labels, true_logits * temperature) == pytest.approx(temperature, rel=0.05)


def test_the_temperature_has_the_least_loss():
    rng = np.random.default_rng(1)
    labels = rng.integers(0, 2, 60)
    logits = 3 * rng.normal(size=60) + labels
    best = calibration.fit_temperature(labels, logits)

    def loss(temperature):
        p = probabilities(logits, temperature)
        return -np.mean(np.log(np.where(labels == 1, p, 1 - p)))

    assert loss(best) < min(loss(best * 1.05), loss(best / 1.05))


def test_separated_units_stay_within_bounds():
    labels = np.array([0, 0, 1, 1])
    assert calibration.fit_temperature(labels, labels * 2.0 - 1) == pytest.approx(calibration.TEMPERATURES[0], rel=1e-3)


def test_rounding_of_another_runtime_moves_no_validation_unit_across():
    rng = np.random.default_rng(5)
    labels = np.tile([0, 1], 30)
    logits = rng.normal(size=60) + labels
    fixed = fit(labels, logits, target(0.9))
    temperature, threshold = fixed.temperature, fixed.threshold
    calls = probabilities(logits, temperature) >= threshold
    other = probabilities(logits + rng.normal(scale=1e-5, size=60), temperature) >= threshold
    np.testing.assert_array_equal(calls, other)


def test_logits_that_are_not_finite_are_a_training_error():
    with pytest.raises(TrainingError, match="1 of 3"):
        fit(np.array([0, 1, 1]), np.array([0.0, np.nan, 1.0]), YOUDEN)


def test_one_class_is_a_split_error():
    with pytest.raises(SplitError, match="3 positive of 3"):
        fit(np.ones(3, np.int64), np.arange(3.0), YOUDEN)


GRADES = Targets("multiclass", ("low", "mid", "high"))
FINDINGS = Targets("multilabel", ("bleed", "mass"))


@pytest.mark.parametrize("temperature", [0.4, 3.0])
def test_a_known_temperature_of_a_softmax_is_recovered(temperature):
    rng = np.random.default_rng(0)
    true_logits = rng.normal(scale=2, size=(8000, 3))
    drawn = [rng.choice(3, p=each) for each in softmax(true_logits, axis=1)]
    found = calibration.fit(np.eye(3, dtype=int)[drawn], true_logits * temperature, SETTINGS, GRADES)
    assert found.temperature == pytest.approx(temperature, rel=0.05)
    assert found.threshold is None
    np.testing.assert_allclose(GRADES.probabilities(true_logits, 2.0), softmax(true_logits / 2, axis=1), atol=1e-12)


def test_each_of_several_labels_has_its_own_temperature_and_threshold():
    rng = np.random.default_rng(0)
    true_logits = np.stack([rng.normal(scale=2, size=8000), rng.normal(loc=-2, scale=2, size=8000)], axis=1)
    labels = (rng.random((8000, 2)) < expit(true_logits)).astype(int)
    settings = Calibrate(threshold=target(0.9))
    found = calibration.fit(labels, true_logits * [0.5, 2.0], settings, FINDINGS)
    temperatures, thresholds = found.temperature, found.threshold
    assert temperatures == pytest.approx([0.5, 2.0], rel=0.1)
    called = calls(FINDINGS.probabilities(true_logits * [0.5, 2.0], temperatures), thresholds)
    for place in range(2):
        assert called[labels[:, place] == 1, place].mean() == pytest.approx(0.9, abs=1e-3)
        alone = fit(labels[:, place], true_logits[:, place] * [0.5, 2.0][place], target(0.9))
        assert (alone.temperature, alone.threshold) == pytest.approx((temperatures[place], thresholds[place]))


def test_a_class_that_no_validation_unit_has_is_named():
    labels = np.eye(3, dtype=int)[[0, 1, 0, 1]]
    with pytest.raises(SplitError, match="0 positive of 4, class 'high'"):
        calibration.fit(labels, np.zeros((4, 3)), SETTINGS, GRADES)


def calibration_of(fitted, **changed):
    return Calibration(**(vars(fitted) | changed), rule="r", model_sha256="m", split_sha256="s")


def curved(seed=0, size=4000):
    """Labels and logits whose probability is no sigmoid of them."""
    rng = np.random.default_rng(seed)
    logits = rng.normal(scale=2, size=size)
    true = 0.1 + 0.3 * (logits > -1) + 0.5 * (logits > 1.5)
    return (rng.random(size) < true).astype(np.int64), logits, true


def test_the_isotonic_calibrator_is_that_of_scikit_learn_and_finds_what_no_temperature_can():
    labels, logits, true = curved()
    fixed = calibration_of(fit(labels, logits, YOUDEN, "isotonic"))
    found = BINARY.calibrated(logits[:, None], fixed)[:, 0]
    reference = IsotonicRegression(y_min=1 / 4002, y_max=4001 / 4002, out_of_bounds="clip").fit(logits, labels)
    other = np.linspace(-9, 9, 501)
    np.testing.assert_allclose(BINARY.calibrated(other[:, None], fixed)[:, 0], reference.predict(other), atol=1e-12)
    by_temperature = BINARY.calibrated(logits[:, None], calibration_of(fit(labels, logits, YOUDEN)))[:, 0]
    assert np.mean((found - true) ** 2) < 0.1 * np.mean((by_temperature - true) ** 2)
    assert np.all(np.diff(found[np.argsort(logits)]) >= 0)


def test_isotonic_probabilities_of_separated_units_are_not_certain():
    labels = np.repeat([0, 1], 5)
    fixed = calibration_of(fit(labels, labels * 2.0 - 1, YOUDEN, "isotonic"))
    np.testing.assert_allclose(BINARY.calibrated(np.array([[-9.0], [9.0]]), fixed)[:, 0], [1 / 12, 11 / 12])
    assert fixed.threshold == pytest.approx(0.5)


def test_isotonic_of_equal_logits_is_the_prevalence():
    fixed = calibration_of(fit(np.array([0, 0, 0, 1]), np.ones(4), target(0.9), "isotonic"))
    assert BINARY.calibrated(np.array([[1.0], [5.0]]), fixed)[:, 0] == pytest.approx([0.25, 0.25])
    assert fixed.threshold <= 0.25


def test_each_of_several_labels_has_its_own_isotonic_calibrator():
    first, second = curved(1), curved(2)
    labels, logits = np.stack([first[0], second[0]], axis=1), np.stack([first[1], second[1] * 3], axis=1)
    settings = Calibrate(calibrator="isotonic", threshold=target(0.9))
    found = calibration_of(calibration.fit(labels, logits, settings, FINDINGS))
    probabilities = FINDINGS.calibrated(logits, found)
    assert found.temperature == [1.0, 1.0]
    for place, (own, logit) in enumerate(zip(labels.T, logits.T, strict=True)):
        alone = calibration_of(fit(own, logit, target(0.9), "isotonic"))
        np.testing.assert_array_equal(probabilities[:, place], BINARY.calibrated(logit[:, None], alone)[:, 0])
        assert np.mean(probabilities[own == 1, place] >= found.threshold[place]) >= 0.9


def test_the_hash_is_of_what_decides():
    fixed = calibration_of(fit(*curved()[:2], target(0.9), "isotonic"))
    sha = fixed.content_sha256
    moved = fixed.model_copy(update={"threshold": fixed.threshold + 1e-4})
    assert moved.content_sha256 != sha
    assert fixed.model_copy(update={"knots": None}).content_sha256 != sha
    assert fixed.model_copy(update={"rule": "another", "threshold": fixed.threshold + 1e-9}).content_sha256 == sha


def test_a_calibration_that_was_changed_by_hand_is_refused(tmp_path):
    fixed = calibration_of(fit(*curved()[:2], target(0.9)))
    paths = [tmp_path / name for name in ("calibration.json", "model", "split")]
    for path in paths[1:]:
        path.write_text(path.name)
    hashes = {f"{path.name}_sha256": sha256_file(path) for path in paths[1:]}
    written = fixed.model_dump() | hashes | {"calibration_sha256": fixed.content_sha256}
    write_json(paths[0], written)
    assert calibration.read(*paths).threshold == fixed.threshold
    write_json(paths[0], written | {"threshold": 0.1})
    with pytest.raises(ContractError, match=r"it was changed by hand.*dvc repro calibrate"):
        calibration.read(*paths)
    for without in ({"calibration_sha256": None}, {"calibration_sha256": None, "threshold": 0.1}):
        write_json(paths[0], written | without)
        with pytest.raises(ContractError, match="no calibration_sha256"):
            calibration.read(*paths)
    write_json(paths[0], {key: value for key, value in written.items() if key != "calibration_sha256"})
    with pytest.raises(ContractError, match=r"no calibration_sha256.*dvc repro calibrate"):
        calibration.read(*paths)
    paths[0].write_text("{")
    with pytest.raises(ContractError, match="no JSON"):
        calibration.read(*paths)
