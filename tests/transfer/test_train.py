"""Phases, freezing, checkpoints."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from pipeline.errors import TrainingError
from pipeline.training_config import Finetune, Phase
from pipeline.transfer.batches import units_of
from pipeline.transfer.checkpoint import Checkpoint
from pipeline.transfer.model import from_backbone, load, save_model
from pipeline.transfer.predict import run
from pipeline.transfer.train import Material, Training
from tests.stopping import Stop, StopsAfter

PHASES = [
    Phase(name="head", trunk=0.0, epochs=3, learning_rate=1e-2),
    Phase(name="top", trunk=0.5, epochs=2, learning_rate=2e-3),
    Phase(name="all", trunk=1.0, epochs=2, learning_rate=1e-3),
]


def settings(**changes: object) -> Finetune:
    values: dict[str, object] = {
        "phases": PHASES,
        "patience": 4,
        "batch_slices": 24,
        "slices_per_unit": 3,
        "weight_decay": 0.01,
        "dropout": 0.1,
        "precision": "fp32",
        "augment": {"flip_chance": 0.5, "rotation_deg": 12.0, "rician": {"chance": 0.2, "sigma": 0.05}},
    }
    return Finetune.model_validate(values | changes)


def training(tmp: Path, backbone: Path, phases: list[Phase] = PHASES, **changes: object) -> Training:
    torch.manual_seed(0)
    model = from_backbone(backbone, 32, 0.1, pretrained=True)
    return Training("t", model, phases, settings(**changes), 3, Checkpoint(tmp, "t", [], {"phases": len(phases)}))


@pytest.fixture
def material(blobs: tuple[np.ndarray, list[dict[str, str]]], backbone_folder: Path) -> Material:
    slices, index = blobs
    features = run(from_backbone(backbone_folder, 32, 0.0, pretrained=True).trunk, slices, 64, "features")
    return Material(
        units_of(slices, index, "train"),
        units_of(slices, index, "val"),
        units_of(features, index, "train"),
        units_of(features, index, "val"),
    )


def test_it_learns_and_the_best_epoch_is_what_remains(
    tmp_path: Path, backbone_folder: Path, material: Material
) -> None:
    job = training(tmp_path, backbone_folder)
    result = job.run(material)
    assert [row["phase"] for row in result.history] == ["head"] * 3 + ["top"] * 2 + ["all"] * 2
    assert result.best_auroc == max(row["val_auroc"] for row in result.history) or result.best_auroc > 0.9
    assert result.best_auroc > 0.9
    for key, value in job.model.state_dict().items():
        assert torch.equal(value.cpu(), result.best[key])


def test_frozen_weights_and_batchnorm_buffers_are_bit_identical(
    tmp_path: Path, backbone_folder: Path, material: Material
) -> None:
    job = training(tmp_path, backbone_folder, PHASES[:2])
    before = {key: value.clone() for key, value in job.model.state_dict().items()}
    job.run(material)
    after = job.model.state_dict()
    job.model.freeze(0.5)
    names = {id(module): name for name, module in job.model.named_modules()}
    frozen = tuple(names[id(block)] + "." for block in job.model._frozen)
    assert frozen
    for key, value in before.items():
        if key.startswith(frozen):
            assert torch.equal(value, after[key]), key
    assert any(not torch.equal(value, after[key]) for key, value in before.items() if key.endswith("running_mean"))


def test_a_head_phase_on_cached_features_equals_one_on_slices(
    tmp_path: Path, backbone_folder: Path, material: Material
) -> None:
    plain = Material(material.train, material.val)
    results = []
    for place, given in (("a", material), ("b", plain)):
        job = training(tmp_path / place, backbone_folder, PHASES[:1], augment=None)
        results.append(job.run(given).history)
    for cached, full in zip(*results, strict=True):
        assert cached["train_loss"] == pytest.approx(full["train_loss"], abs=1e-4)


@pytest.mark.parametrize("saves", [1, 4, 5, 6, 8, 9])
def test_a_training_that_stopped_anywhere_ends_as_if_it_had_not(
    tmp_path: Path, backbone_folder: Path, material: Material, saves: int
) -> None:
    """Stopped within a phase, at its end and at the start of the next."""
    whole = training(tmp_path / "whole", backbone_folder).run(material)

    job = training(tmp_path / "cut", backbone_folder)
    job.checkpoint = StopsAfter(saves, tmp_path / "cut", "t", [], {"phases": 3})
    with pytest.raises(Stop):
        job.run(material)
    resumed = training(tmp_path / "cut", backbone_folder).run(material)
    assert resumed.history == whole.history
    for key, value in whole.best.items():
        torch.testing.assert_close(resumed.best[key], value)


def test_a_loss_that_is_not_finite_is_an_error(tmp_path: Path, backbone_folder: Path, material: Material) -> None:
    phase = Phase(name="wild", trunk=1.0, epochs=2, learning_rate=1e30)
    with pytest.raises(TrainingError, match="finite loss.*phase wild.*learning_rate"):
        training(tmp_path, backbone_folder, [phase]).run(material)


def test_early_stop_ends_a_phase(tmp_path: Path, backbone_folder: Path, material: Material) -> None:
    phase = Phase(name="still", trunk=0.0, epochs=20, learning_rate=1e-12)
    history = training(tmp_path, backbone_folder, [phase], patience=2).run(material).history
    assert len(history) < 20


def test_saving_and_loading_keeps_every_logit(tmp_path: Path, backbone_folder: Path, material: Material) -> None:
    job = training(tmp_path, backbone_folder, PHASES[:1])
    job.run(material)
    save_model(job.model, tmp_path / "m", backbone_folder, {})
    slices = torch.rand(3, 1, 32, 32)
    with torch.no_grad():
        torch.testing.assert_close(load(tmp_path / "m")(slices), job.model.cpu().eval()(slices))


def test_a_kill_leaves_a_checkpoint_that_can_be_read(tmp_path: Path) -> None:
    code = (
        "import torch;from pathlib import Path;from pipeline.transfer.checkpoint import *;"
        f"c=Checkpoint(Path({str(tmp_path)!r}),'k',[],{{}});print(c.path,flush=True)\n"
        "while True: c.save({'epoch':1,'model':{'w':torch.zeros(200000)}})"
    )
    child = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True)
    assert child.stdout is not None
    path = Path(child.stdout.readline().strip())
    while not path.exists():
        pass
    os.kill(child.pid, signal.SIGKILL)
    child.wait()
    child.stdout.close()
    assert torch.load(path, weights_only=True)["epoch"] == 1
