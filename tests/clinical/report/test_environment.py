from pathlib import Path

import pytest

from pipeline.clinical.report import environment
from pipeline.files import write_json, write_text


@pytest.fixture
def model(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    write_text(Path("models/finetuned/model.safetensors"), "weights")
    return Path("models/finetuned/model.safetensors")


@pytest.mark.parametrize(
    ("seconds", "said"), [(93.6, "94 s"), (119.0, "119 s"), (720.0, "12 min"), (7199.0, "120 min"), (9000.0, "2.5 h")]
)
def test_a_training_is_told_by_its_time_and_machine(model, seconds, said):
    write_json(environment.TIMES / "finetune.json", {"seconds": seconds, **environment.trained("finetuned")})
    assert environment.training("finetuned", "finetune") == f"{said} on {environment.machine()}"


def test_the_record_of_another_model_is_none(model):
    assert environment.training("finetuned", "finetune") == "not recorded for this model"
    write_json(environment.TIMES / "finetune.json", {"seconds": 9.0})
    assert environment.training("finetuned", "finetune") == "not recorded for this model"
    write_json(environment.TIMES / "finetune.json", {"seconds": 9.0, **environment.trained("finetuned")})
    write_text(model, "other weights, out of a cache")
    assert environment.training("finetuned", "finetune") == "not recorded for this model"
