"""Phases, freezing, checkpoints."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from sklearn.metrics import roc_auc_score

from pipeline import config
from pipeline.errors import TrainingError
from pipeline.training_config import Finetune, Phase
from pipeline.transfer import objective
from pipeline.transfer.batches import Bags
from pipeline.transfer.checkpoint import Checkpoint
from pipeline.transfer.learner import Learner, unit_logits
from pipeline.transfer.model import from_backbone, load, save_model
from pipeline.transfer.train import Material, Training
from tests.stopping import Stop, StopsAfter

ROOT = Path(__file__).resolve().parents[2]
PHASES = [
    Phase(name="head", trunk=0.0, epochs=3, learning_rate=1e-2),
    Phase(name="top", trunk=0.5, epochs=2, learning_rate=2e-3),
    Phase(name="all", trunk=1.0, epochs=2, learning_rate=1e-3),
]


def settings(**changes: object) -> Finetune:
    shipped = config.load(ROOT / "params.yaml").finetune.model_dump()
    small = {"phases": PHASES, "patience": 4, "batch_slices": 24, "slices_per_unit": 3, "precision": "fp32"}
    small["least_steps"] = 1
    return Finetune.model_validate(shipped | small | changes)


def training(tmp: Path, backbone: Path, phases: list[Phase] = PHASES, **changes: object) -> Training:
    torch.manual_seed(0)
    model = from_backbone(backbone, 32, 0.1, pretrained=True)
    return Training("t", model, phases, settings(**changes), 3, Checkpoint(tmp, "t", [], {"phases": len(phases)}))


def test_it_learns_and_the_epoch_that_is_kept_is_what_remains(
    tmp_path: Path, backbone_folder: Path, material: Material
) -> None:
    job = training(tmp_path, backbone_folder)
    result = job.run(material)
    assert [row["phase"] for row in result.history] == ["start"] + ["head"] * 3 + ["top"] * 2 + ["all"] * 2
    assert [row["epoch"] for row in result.history] == list(range(8))
    assert result.history[0]["val_auroc"] == 0.5
    assert len(result.curve) == 8
    for row, logits in zip(result.history, result.curve, strict=True):
        assert row["val_auroc"] == pytest.approx(roc_auc_score(material.val.targets[:, 0], logits[:, 0]), abs=1e-6)
    kept = [row for row in result.history if row["kept"]][-1]
    assert result.kept_auroc == pytest.approx(kept["val_auroc"], abs=1e-6)
    assert result.kept_auroc > 0.9
    for key, value in job.model.state_dict().items():
        assert torch.equal(value.cpu(), result.best[key])


@pytest.mark.parametrize("trunk", [0.0, 0.5, "layer4"])
def test_a_phase_on_recordings_equals_one_on_slices(
    tmp_path: Path, backbone_folder: Path, material: Material, trunk: float | str
) -> None:
    """In as many epochs as there are draws, but for the rounding of stored activations and another order."""
    phase = [Phase(name="p", trunk=trunk, epochs=6, learning_rate=2e-3)]
    histories = []
    for copies in (6, 0):
        changes = {
            "recordings": {"copies": copies, "gigabytes": 1},
            "augment": None,
            "slices_per_unit": 4,
            "dropout": 0,
        }
        job = training(tmp_path / str(copies), backbone_folder, phase, **changes)
        histories.append(job.run(material).history)
        assert not list(tmp_path.rglob("*.npy"))
    recorded, plain = histories
    assert recorded[-1]["train_loss"] == pytest.approx(plain[-1]["train_loss"], abs=2e-3)
    assert recorded[-1]["val_auroc"] == pytest.approx(plain[-1]["val_auroc"], abs=0.02)


def test_fewer_draws_are_less_work(tmp_path: Path, backbone_folder: Path, material: Material) -> None:
    phase, work = [Phase(name="p", trunk=0.5, epochs=4, learning_rate=1e-4)], []
    for copies in (0, 4, 1):
        changes = {"recordings": {"copies": copies, "gigabytes": 1}, "patience": 9}
        job = training(tmp_path / str(copies), backbone_folder, phase, **changes)
        work.append(job.run(material).history[-1]["passes"])
    assert work[0] == pytest.approx(work[1])
    assert work[2] < work[1]


@pytest.mark.parametrize(("gigabytes", "made"), [(1e-6, 0), (1.0, 3)])
def test_recordings_that_do_not_fit_are_not_made(
    tmp_path: Path, backbone_folder: Path, material: Material, gigabytes: float, made: int
) -> None:
    job = training(tmp_path, backbone_folder, PHASES[:1], recordings={"copies": 4, "gigabytes": gigabytes})
    found: list[int] = []
    job.after_epoch = lambda: found.append(len(list(tmp_path.rglob("train/*.npy"))))
    job.run(material)
    assert max(found) == made


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


WAYS: dict[str, dict[str, object]] = {
    "an average": {"average": 0.9, "warmup": 0.2, "layer_decay": 0.7},
    "mixed slices": {"mixup": {"alpha": 0.4, "at": "slices"}},
    "mixed features": {"mixup": {"alpha": 0.4, "at": "features"}, "label_smoothing": 0.1},
    "weights": {"class_weights": True, "accumulate": 2},
    "fp16": {"precision": "fp16", "average": 0.9},
    "attention": {"pooling": "attention"},
    "maximum": {"pooling": "max", "precision": "bf16"},
}


@pytest.mark.parametrize("way", WAYS)
def test_every_way_of_a_step_learns_and_goes_on_where_it_was(
    tmp_path: Path, backbone_folder: Path, material: Material, way: str
) -> None:
    phases = PHASES[:1] if way == "fp16" else PHASES[:2]  # fp16 convolutions take minutes on a CPU
    whole = training(tmp_path / "whole", backbone_folder, phases, **WAYS[way]).run(material)
    assert whole.kept_auroc > 0.9

    job = training(tmp_path / "cut", backbone_folder, phases, **WAYS[way])
    job.checkpoint = StopsAfter(2 * len(phases), tmp_path / "cut", "t", [], {"phases": len(phases)})
    with pytest.raises(Stop):
        job.run(material)
    resumed = training(tmp_path / "cut", backbone_folder, phases, **WAYS[way]).run(material)
    assert resumed.history == whole.history
    assert all(torch.equal(a, b) for a, b in zip(resumed.curve, whole.curve, strict=True))


def test_steps_whose_gradients_add_up_are_one_step(tmp_path: Path, backbone_folder: Path, material: Material) -> None:
    curves = []
    for accumulate in (1, 3):
        changes = {"batch_slices": 36 // accumulate, "accumulate": accumulate, "dropout": 0.0, "augment": None}
        job = training(tmp_path / str(accumulate), backbone_folder, PHASES[:1], **changes)
        curves.append(torch.stack(job.run(material).curve))
    torch.testing.assert_close(curves[0], curves[1], atol=2e-3, rtol=0)


@pytest.mark.skipif(shutil.which("g++") is None, reason="torch.compile needs a C++ compiler")
def test_a_compiled_phase_equals_one_that_is_not(tmp_path: Path, backbone_folder: Path, material: Material) -> None:
    histories = [
        training(tmp_path / str(compiled), backbone_folder, PHASES[:1], compile=compiled).run(material).history
        for compiled in (False, True)
    ]
    for plain, compiled in zip(*histories, strict=True):
        assert compiled["val_auroc"] == pytest.approx(plain["val_auroc"], abs=1e-3)


def test_a_loss_that_is_not_finite_is_an_error(tmp_path: Path, backbone_folder: Path, material: Material) -> None:
    phase = Phase(name="wild", trunk=1.0, epochs=2, learning_rate=1e30)
    job = training(tmp_path, backbone_folder, [PHASES[0], phase])
    with pytest.raises(TrainingError, match=r"finite loss.*phase wild.*learning_rate.*are kept: .*checkpoint\.pt"):
        job.run(material)
    assert job.checkpoint.load()["epoch"] == 0


def test_answers_that_are_not_finite_are_an_error(tmp_path: Path, backbone_folder: Path, material: Material) -> None:
    """The loss of the one step was measured before the step that ruined the weights."""
    phase = Phase(name="wild", trunk=1.0, epochs=2, learning_rate=1e30)
    job = training(tmp_path, backbone_folder, [phase], batch_slices=10_000)
    with pytest.raises(TrainingError, match=r"finite validation logit.*phase wild, epoch 1\..*fp32\.$"):
        job.run(material)
    assert not job.checkpoint.path.exists()


def test_the_curve_says_what_the_model_says_also_where_classes_are_weighted(
    tmp_path: Path, backbone_folder: Path, material: Material
) -> None:
    few = [place for place in range(len(material.train.rows)) if place % 2 == 0 or place % 6 == 1]
    train = Bags(material.train.values, [material.train.rows[each] for each in few], material.train.targets[few])
    job = training(tmp_path, backbone_folder, PHASES[:1], class_weights=True, augment=None)
    result = job.run(Material(train, material.val))
    kept = max(place for place, row in enumerate(result.history) if row["kept"])
    own = unit_logits(Learner(job.model.trunk, job.model.head), material.val, job.device, torch.float32)
    np.testing.assert_allclose(result.curve[kept].numpy(), own, atol=2e-3)


def test_epochs_clearly_worse_than_the_best_end_a_phase(
    tmp_path: Path, backbone_folder: Path, material: Material, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The second epoch is as good as it gets, the third about as good, and then it is forgotten."""
    drawn = iter(np.array([[0.6, 0.6, 0.6], [0.3, 0.2, 0.4], [0.4, 0.3, 0.23], *[[0.9, 0.8, 1.0]] * 2]))
    monkeypatch.setattr(objective, "unit_losses", lambda *_: next(drawn))
    phase = Phase(name="still", trunk=0.0, epochs=20, learning_rate=1e-12)
    result = training(tmp_path, backbone_folder, [phase], patience=2).run(material)
    assert [row["kept"] for row in result.history] == [0, 1, 1, 0, 0]
    assert [row["val_loss"] for row in result.history] == pytest.approx([0.6, 0.3, 0.31, 0.9, 0.9])


def test_saving_and_loading_keeps_every_logit(tmp_path: Path, backbone_folder: Path, material: Material) -> None:
    job = training(tmp_path, backbone_folder, PHASES[:1])
    job.run(material)
    save_model(job.model, tmp_path / "m", backbone_folder, {})
    slices = torch.rand(3, 1, 32, 32)
    with torch.no_grad():
        torch.testing.assert_close(load(tmp_path / "m")(slices), job.model.cpu().eval()(slices))
