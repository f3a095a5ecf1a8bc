"""What a phase leaves as it was, to the bit, and the order of phases."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from pipeline.errors import ConfigError
from pipeline.training_config import Phase
from pipeline.transfer.train import Material
from tests.transfer.test_train import training

#: What of the trunk learns, by the names of its tensors.
LEARNS: dict[float | str, tuple[str, ...]] = {
    0.0: (),
    0.5: ("bn1.", "layer1.", "layer2.", "layer3.", "layer4."),
    "layer4": ("layer4.",),
}
WAYS: dict[str, dict[str, object]] = {
    "on recordings": {},
    "on slices": {"recordings": {"copies": 0, "gigabytes": 1}},
    "on mixed slices": {"mixup": {"alpha": 0.4, "at": "slices"}},
}


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("trunk", LEARNS)
def test_frozen_weights_and_batchnorm_buffers_are_bit_identical(
    tmp_path: Path,
    backbone_folder: Path,
    material: Material,
    capfd: pytest.CaptureFixture[str],
    trunk: float | str,
    way: str,
) -> None:
    phase = Phase(name="p", trunk=trunk, epochs=1, learning_rate=2e-3)
    job = training(tmp_path, backbone_folder, [phase], **WAYS[way])
    head = job.model.head.logits.weight.clone()
    job.run(material)
    assert ("recorded draws" in capfd.readouterr().err) == (way == "on recordings")
    before, after = load_file(backbone_folder / "backbone.safetensors"), job.model.trunk.state_dict()
    assert after.keys() == before.keys()
    assert sum(key.endswith("running_var") for key in before) > 4
    for key, value in before.items():
        assert torch.equal(after[key].cpu(), value) != key.startswith(LEARNS[trunk]), key
    assert not torch.equal(job.model.head.logits.weight, head)


@pytest.mark.parametrize(("first", "second"), [("layer2", "layer4"), (1.0, "layer4"), ("layer1", 0.2)])
def test_a_phase_that_unfreezes_less_than_the_one_before_is_refused_before_the_first_step(
    tmp_path: Path, backbone_folder: Path, material: Material, first: float | str, second: float | str
) -> None:
    phases = [
        Phase(name="one", trunk=first, epochs=1, learning_rate=1e-2),
        Phase(name="two", trunk=second, epochs=1, learning_rate=1e-3),
    ]
    job = training(tmp_path, backbone_folder, phases)
    with pytest.raises(ConfigError, match=rf"'two' \(trunk: {second}\), which unfreezes less of the trunk than 'one'"):
        job.run(material)
    assert job.progress.history == []
    assert list(tmp_path.iterdir()) == []


def test_a_phase_may_unfreeze_as_much_as_the_one_before(
    tmp_path: Path, backbone_folder: Path, material: Material
) -> None:
    phases = [
        Phase(name="one", trunk="layer4.0", epochs=1, learning_rate=1e-2),
        Phase(name="two", trunk=0.1, epochs=1, learning_rate=1e-3),
    ]
    result = training(tmp_path, backbone_folder, phases).run(material)
    assert [row["phase"] for row in result.history] == ["start", "one", "two"]
