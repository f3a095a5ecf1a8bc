import re

import pytest
from pydantic import ValidationError

from pipeline.config import load
from pipeline.errors import ConfigError
from pipeline.validation_config import SHORT, Criterion, Validate

WAIVER = {"by": "Dr. Ada Example", "reason": "a trial"}


def test_a_short_name_stands_for_its_figure_and_bound():
    spelled = Criterion(metric="operating_point.sensitivity.low", min=0.85, waiver=WAIVER)
    assert Criterion(sensitivity_lower_ci=0.85, waiver=WAIVER) == spelled
    assert Criterion(brier=0.2) == Criterion(metric="calibration.brier.value", max=0.2)


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"sensitivty_lower_ci": 0.85}, "nearest short name is `sensitivity_lower_ci`"),
        ({"sensitivity": 0.8, "specificity": 0.8}, "one short name, not 'sensitivity', 'specificity'"),
        ({"waiver": WAIVER}, "one short name, not no name"),
        ({"sensitivity": float("nan")}, "a bound that is a number"),
        ({"metric": "a.b", "min": 1, "max": 2}, "exactly one of"),
        ({"sensitivity": "high"}, "valid number"),
    ],
)
def test_what_names_no_figure_or_bound_is_refused(given, message):
    with pytest.raises(ValidationError, match=re.escape(message)):
        Criterion(**given)


def test_resamples_and_prevalences_are_as_many_as_is_promised(root):
    shipped = load(root / "params.yaml").validate_
    assert shipped.bootstrap >= 2000
    assert len(shipped.prevalences) >= 3
    with pytest.raises(ValidationError, match="at least 3 items"):
        Validate(bootstrap=2000, confidence=0.95, prevalences=[0.1, 0.3])
    with pytest.raises(ValidationError, match="greater than or equal to 100"):
        Validate(bootstrap=99, confidence=0.95)


def test_every_short_name_is_in_the_documentation(root):
    text = (root / "docs/validation.md").read_text()
    for name, (metric, bound) in SHORT.items():
        assert f"| `{name}` | `{metric}` | {'at least' if bound == 'min' else 'at most'} |" in text


def test_an_isotonic_calibrator_is_none_of_a_multiclass_task(root, tmp_path):
    text = (root / "params.yaml").read_text()
    for old, new in (
        ("calibrator: temperature", "calibrator: isotonic"),
        ("task: binary  ", "task: multiclass  "),
        ("classes: null  ", "classes: [a, b, c]  "),
    ):
        assert old in text
        text = text.replace(old, new, 1)
    (tmp_path / "params.yaml").write_text(text)
    with pytest.raises(ConfigError, match="calibrator is `temperature`"):
        load(tmp_path / "params.yaml")
    (tmp_path / "params.yaml").write_text(text.replace("multiclass  ", "multilabel  "))
    assert load(tmp_path / "params.yaml").calibrate.calibrator == "isotonic"
