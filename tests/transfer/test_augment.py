"""Augmentation as a whole: seeded, within range, a unit at a time, by its chances, and in training only."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from monai.transforms import AdjustContrast

from pipeline import config
from pipeline.targets import Targets
from pipeline.training_config import Augment, Finetune, Phase
from pipeline.transfer import augment as module
from pipeline.transfer import feed
from pipeline.transfer.augment import augment
from pipeline.transfer.batches import bags_of
from pipeline.transfer.checkpoint import Checkpoint
from pipeline.transfer.model import from_backbone
from pipeline.transfer.train import Material, Training

ARTEFACTS = {
    "bias_field": {"chance": 0.5, "log_gain": 0.3},
    "gibbs": {"chance": 0.5, "resolution": 0.5},
    "rician": {"chance": 0.5, "sigma": 0.05},
    "motion": {"chance": 0.5, "shift": 0.03},
}
POSES = {"flip_chance": 0.5, "rotation_deg": 12.0, "zoom": 0.1, "shift": 0.05}
CONTRASTS = {"contrast": 0.2, "gamma": 0.3, "brightness": 0.1}


def only(**settings: Any) -> Augment:
    return Augment.model_validate(settings)


def run(slices: torch.Tensor, owner: torch.Tensor, settings: Augment, seed: int = 3) -> torch.Tensor:
    return augment(slices, owner, torch.Generator().manual_seed(seed), settings)


@pytest.fixture
def slices() -> torch.Tensor:
    """(40, 1, 32, 32): noisy discs in noisy air, with a rim that was not measured."""
    generator = torch.Generator().manual_seed(0)
    y, x = torch.meshgrid(torch.linspace(-1, 1, 32), torch.linspace(-1, 1, 32), indexing="ij")
    disc = torch.where(x**2 + y**2 < 0.4, 0.6, 0.02)
    image = (disc + 0.02 * torch.randn(40, 1, 32, 32, generator=generator)).clamp(0, 1)
    image[..., :9] = 0
    return image


OWNER = torch.arange(40) // 2


@pytest.fixture
def shipped(root: Path) -> Augment:
    settings = config.load(root / "params.yaml").finetune.augment
    assert settings is not None
    return settings


def test_one_seed_gives_the_same_bytes_and_another_gives_others(slices: torch.Tensor, shipped: Augment) -> None:
    assert torch.equal(run(slices, OWNER, shipped), run(slices, OWNER, shipped))
    assert not torch.equal(run(slices, OWNER, shipped), run(slices, OWNER, shipped, seed=4))


def test_what_is_left_out_does_not_happen(slices: torch.Tensor) -> None:
    before = slices.clone()
    assert torch.equal(run(slices, OWNER, Augment()), slices)
    never = only(**{name: {**settings, "chance": 0} for name, settings in ARTEFACTS.items()})
    assert torch.equal(run(slices, OWNER, never), slices)
    run(slices, OWNER, only(**ARTEFACTS, **POSES, **CONTRASTS))
    assert torch.equal(slices, before)  # the caller's are not changed


@pytest.mark.parametrize("seed", range(5))
def test_all_at_their_most_stays_finite_and_in_range(slices: torch.Tensor, seed: int) -> None:
    most = {name: {**settings, "chance": 1} for name, settings in ARTEFACTS.items()}
    changed = run(slices, OWNER, only(**most, **POSES, **CONTRASTS), seed)
    assert changed.shape == slices.shape
    assert changed.dtype == torch.float32
    assert bool(torch.isfinite(changed).all())
    assert float(changed.min()) >= 0
    assert float(changed.max()) <= 1


@pytest.mark.parametrize("name", ARTEFACTS)
def test_a_chance_is_the_share_that_changes_and_the_rest_stays_to_the_bit(slices: torch.Tensor, name: str) -> None:
    """Of units, or of slices for motion; over 10 draws of 20 units or 40 slices the share is 0.5 within 0.12."""
    units = OWNER if name != "motion" else torch.arange(40)
    changed = [
        (run(slices, OWNER, only(**{name: ARTEFACTS[name]}), seed) != slices).flatten(1).any(1) for seed in range(10)
    ]
    for found in changed:
        for unit in range(int(units.max()) + 1):
            assert len(set(found[units == unit].tolist())) == 1
    assert float(torch.stack(changed).float().mean()) == pytest.approx(0.5, abs=0.12)


@pytest.mark.parametrize("settings", [POSES, CONTRASTS, {"bias_field": {"chance": 1, "log_gain": 0.3}}])
def test_slices_of_a_unit_share_pose_contrast_and_coil(slices: torch.Tensor, settings: dict[str, Any]) -> None:
    same = slices[:1].expand(4, -1, -1, -1)
    changed = run(same, torch.tensor([0, 0, 1, 1]), only(**settings))
    assert torch.equal(changed[0], changed[1])
    assert torch.equal(changed[2], changed[3])
    assert not torch.equal(changed[1], changed[2])


@pytest.mark.parametrize("name", ["rician", "motion"])
def test_slices_of_a_unit_have_noise_and_motion_of_their_own(slices: torch.Tensor, name: str) -> None:
    same = slices[:1].expand(2, -1, -1, -1)
    changed = run(same, torch.tensor([0, 0]), only(**{name: {**ARTEFACTS[name], "chance": 1}}))
    assert not torch.equal(changed[0], changed[1])


def test_turning_one_change_off_leaves_the_draws_of_the_others(slices: torch.Tensor) -> None:
    both = only(**POSES, bias_field={"chance": 1e-9, "log_gain": 0.3})
    assert torch.equal(run(slices, OWNER, both), run(slices, OWNER, only(**POSES)))


def test_contrast_is_monais_gamma_and_never_turns_brighter_into_darker() -> None:
    ramp = torch.linspace(0, 1, 32 * 32).view(1, 1, 32, 32).expand(20, -1, -1, -1)
    changed = run(ramp, torch.arange(20), only(**CONTRASTS)).flatten(1)
    assert bool((changed[:, 1:] >= changed[:, :-1]).all())
    assert float((changed - ramp.flatten(1)).abs().amax(1).min()) > 0
    drawn = torch.rand(20, 14, generator=torch.Generator().manual_seed(3))[:, 6] * 2 - 1
    exponent = float(torch.exp(drawn[0] * 0.3))
    (gamma,) = run(ramp, torch.arange(20), only(gamma=0.3))[:1]
    assert torch.allclose(gamma, AdjustContrast(exponent)(ramp[0]).as_tensor(), atol=1e-5)  # type: ignore[union-attr]


def test_the_pose_is_what_it_says() -> None:
    image = torch.zeros(1, 1, 64, 64)
    image[..., 20:44, 8:16] = 0.5
    assert torch.allclose(run(image, torch.tensor([0]), only(flip_chance=1)), image.flip(-1), atol=1e-5)
    shifted = run(image.expand(50, -1, -1, -1), torch.arange(50), only(shift=0.1))
    columns = (shifted.sum(2)[:, 0] * torch.arange(64)).sum(1) / shifted.sum((1, 2, 3))
    assert float((columns - 11.5).abs().max()) == pytest.approx(6.4, rel=0.15)  # a tenth of the width


def test_noise_and_ghosts_are_in_air_but_not_where_nothing_was_measured(slices: torch.Tensor) -> None:
    for name in ("rician", "motion", "gibbs"):
        changed = run(slices, OWNER, only(**{name: {**ARTEFACTS[name], "chance": 1}}))
        assert float(changed[..., :6].abs().max()) == 0  # three pixels from the first that was
        air = (slices == 0) & (torch.arange(32) > 12)
        assert float(changed[air].mean()) > 0


def test_near_signal_is_a_dilation_by_three() -> None:
    image = (torch.rand(10, 1, 40, 40, generator=torch.Generator().manual_seed(1)) - 0.98).clamp(min=0)
    assert torch.equal(module._near_signal(image), torch.nn.functional.max_pool2d(image, 7, 1, 3) > 0)


def test_bright_air_is_not_made_by_brightness(slices: torch.Tensor) -> None:
    changed = run(slices, OWNER, only(brightness=0.1))
    assert float((changed - slices)[slices < 0.02].max()) <= 0.1 * 0.02 / 0.1 + 1e-6


def test_validation_is_never_augmented(
    tmp_path: Path,
    root: Path,
    backbone_folder: Path,
    blobs: tuple[np.ndarray, list[dict[str, str]]],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    values, index = blobs
    seen: list[bytes] = []

    def spy(slices: torch.Tensor, *others: Any) -> torch.Tensor:
        seen.extend((picture * 255).round().byte().numpy().tobytes() for picture in slices)
        return augment(slices, *others)

    monkeypatch.setattr(feed, "augment", spy)
    changes = {"precision": "fp32", "slices_per_unit": 2, "least_steps": 1, "augment": {**POSES, **ARTEFACTS}}
    phases = [
        Phase(name="recorded", trunk=0.0, epochs=2, learning_rate=1e-2),
        Phase(name="all", trunk=1.0, epochs=1, learning_rate=1e-3),
    ]
    settings = config.load(root / "params.yaml").finetune.model_copy(update={"phases": phases})
    model = from_backbone(backbone_folder, 32, 0.0, pretrained=True)
    checkpoint = Checkpoint(tmp_path, "t", [], {})
    job = Training("t", model, phases, Finetune.model_validate(settings.model_dump() | changes), 3, checkpoint)
    job.run(Material(*(bags_of(values, index, side, Targets("binary", ("0", "1"))) for side in ("train", "val"))))
    trained = {values[row].tobytes() for row, entry in enumerate(index) if entry["split"] == "train"}
    assert len(seen) == 2 * 36 * 3  # two draws that were recorded, and an epoch
    assert set(seen) <= trained
