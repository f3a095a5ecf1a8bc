import numpy as np
import pytest
from scipy.special import expit

from pipeline.clinical.pooling import pool_mean
from pipeline.config import load
from pipeline.contract import Calibration
from pipeline.files import read_csv, sha256_file
from pipeline.stages.calibrate import OUT, calibrate
from pipeline.transfer.model import load as load_model
from pipeline.transfer.predict import rows as rows_of


@pytest.fixture
def params(root):
    return load(root / "params.yaml")


def test_the_calibration_belongs_to_this_model_and_split(trained, params):
    calibrate(params)
    found = Calibration.model_validate_json(OUT.read_bytes())
    assert found.model_sha256 == sha256_file(trained / "models/finetuned/model.safetensors")
    assert found.split_sha256 == sha256_file(trained / "data/split.csv")
    assert found.rule == "sensitivity at least 0.9"
    before = OUT.read_bytes()
    calibrate(params)
    assert OUT.read_bytes() == before


def test_the_threshold_reaches_its_target_on_validation_patients(trained, params):
    calibrate(params)
    found = Calibration.model_validate_json(OUT.read_bytes())
    rows = read_csv(trained / "data/prepared/slices.csv")
    pixels = np.load(trained / "data/prepared/slices.npy")
    side = np.array([row["split"] == "val" for row in rows])
    logits = rows_of(load_model(trained / "models/finetuned"), pixels[side])
    units, pooled = pool_mean(logits, [row["unit"] for row in rows if row["split"] == "val"])
    positive = np.array([int(unit[-1]) % 2 == 1 for unit in units])
    calls = expit(pooled[:, 0] / found.temperature) >= found.threshold
    assert np.mean(calls[positive]) == 1  # 6 positives: 5 of 6 would be below 0.9


def test_test_patients_have_no_part_in_it(trained, params):
    calibrate(params)
    before = OUT.read_bytes()
    rows = read_csv(trained / "data/prepared/slices.csv")
    pixels = np.load(trained / "data/prepared/slices.npy")
    pixels[[row["split"] != "val" for row in rows]] = 0
    np.save(trained / "data/prepared/slices.npy", pixels)
    calibrate(params)
    assert OUT.read_bytes() == before
