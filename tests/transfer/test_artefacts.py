"""Each artefact does what physics and MONAI's transform of that name say."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from monai.transforms import GibbsNoise, RandRicianNoise

from pipeline.transfer import artefacts

SIZE = 64


def head(count: int = 1) -> torch.Tensor:
    """Ellipses with a few darker ones inside, in dark air: (count, 1, SIZE, SIZE)."""
    y, x = torch.meshgrid(torch.linspace(-1, 1, SIZE), torch.linspace(-1, 1, SIZE), indexing="ij")
    image = torch.where((x / 0.6) ** 2 + (y / 0.75) ** 2 < 1, 0.7, 0.0)
    image = torch.where((x / 0.15) ** 2 + (y / 0.3) ** 2 < 1, 0.2, image)
    return image.expand(count, 1, -1, -1).clone()


def spectrum(image: torch.Tensor) -> torch.Tensor:
    return torch.fft.fftshift(torch.fft.fft2(image), dim=(-2, -1)).abs()


def draws(count: int, columns: int) -> torch.Tensor:
    return torch.rand(count, columns, generator=torch.Generator().manual_seed(4))


def test_a_bias_field_multiplies_smoothly_and_by_as_much_as_was_asked() -> None:
    image = head(3) + 0.1
    log_gain = torch.tensor([0.1, 0.3, 0.0])
    changed = artefacts.bias_field(image, draws(3, artefacts.TERMS) * 2 - 1, log_gain)
    field = torch.log(changed / image)
    assert torch.allclose(field.abs().amax(dim=(1, 2, 3)), log_gain, atol=1e-5)
    assert torch.allclose(artefacts.bias_field(2 * image, draws(3, artefacts.TERMS) * 2 - 1, log_gain), 2 * changed)
    basis = np.stack([plane.numpy().ravel() for plane in artefacts._polynomials(SIZE, SIZE)], axis=1)
    _, left, rank, _ = np.linalg.lstsq(basis, field[1].numpy().ravel(), rcond=None)
    assert rank == artefacts.TERMS
    assert float(left[0]) < 1e-6  # a polynomial of the third degree and nothing else
    steps = (field[1, 0, 1:] - field[1, 0, :-1]).abs().max()
    assert float(steps) < 0.1 * 0.3


def test_a_bias_field_can_go_along_either_axis() -> None:
    """MONAI's own form for two axes has no polynomial of the columns alone."""
    planes = artefacts._polynomials(SIZE, SIZE)
    along = [(float(plane.std(0).max()), float(plane.std(1).max())) for plane in planes]
    assert sum(rows < 1e-6 < columns for rows, columns in along) == artefacts.DEGREE
    assert sum(columns < 1e-6 < rows for rows, columns in along) == artefacts.DEGREE


def test_gibbs_ringing_is_monais_and_takes_the_outside_of_k_space() -> None:
    image, kept = 0.2 + 0.8 * head(), 0.6  # where ringing turns no signal around, of which the magnitude would be taken
    ringing = GibbsNoise(alpha=1 - kept / math.sqrt(2))
    changed = artefacts.gibbs(image, kept)
    assert torch.equal(changed[:, 0], ringing(image[:, 0]).as_tensor().abs())  # type: ignore[union-attr]
    y, x = torch.meshgrid(torch.arange(SIZE) - SIZE / 2, torch.arange(SIZE) - SIZE / 2, indexing="ij")
    radius = torch.hypot(x, y) / (SIZE / 2)
    before, after = spectrum(image)[0, 0] ** 2, spectrum(changed)[0, 0] ** 2
    outside = radius > kept + 0.1
    assert float(after[outside].sum()) < 1e-6 * float(before[outside].sum())
    assert torch.allclose(after[radius < 0.5], before[radius < 0.5], rtol=1e-3, atol=1e-3)
    assert float(changed.max()) > 1.02 * float(image.max())  # overshoot at the edge


def test_rician_noise_lifts_the_dark_and_leaves_the_bright_mean() -> None:
    sigma = torch.tensor([0.05])
    generator = torch.Generator().manual_seed(1)
    dark = artefacts.rician(torch.zeros(1, 1, 256, 256), sigma, generator)
    bright = artefacts.rician(torch.full((1, 1, 256, 256), 0.8), sigma, generator)
    assert float(dark.mean()) == pytest.approx(0.05 * math.sqrt(math.pi / 2), rel=0.02)
    assert float(bright.mean()) == pytest.approx(math.hypot(0.8, 0.05 / math.sqrt(2)), rel=0.005)
    assert float(bright.std()) == pytest.approx(0.05, rel=0.03)


@pytest.mark.parametrize("level", [0.0, 0.05, 0.4])
def test_rician_noise_is_distributed_as_monais(level: float) -> None:
    image = torch.full((1, 1, 256, 256), level)
    ours = artefacts.rician(image, torch.tensor([0.05]), torch.Generator().manual_seed(1))
    theirs = RandRicianNoise(prob=1, std=0.05, sample_std=False).set_random_state(2)(image[0])
    shares = torch.linspace(0.02, 0.98, 25)
    assert torch.allclose(torch.quantile(ours, shares), torch.quantile(theirs.as_tensor(), shares), atol=0.002)  # type: ignore[union-attr]


def test_without_a_shift_motion_leaves_the_image() -> None:
    image = head(2)
    assert torch.allclose(artefacts.motion(image, draws(2, artefacts.MOTION_DRAWS), 0.0), image, atol=1e-5)


def test_motion_makes_ghosts_along_the_phase_axis_alone() -> None:
    """Lines are acquired along the rows, so that what leaves the head is above and below it."""
    path = torch.tensor([[0.3, 0.45, 0.8, 0.5, 0.5, 1.0, 0.5, 0.5, 0.5, 0.0, 0.5]])  # the rows alone are moved
    image = head()
    changed = artefacts.motion(image, path, 0.05)
    rows, columns = image[0, 0].amax(1) > 0, image[0, 0].amax(0) > 0
    above, beside = changed[0, 0][~rows][:, columns], changed[0, 0][rows][:, ~columns]
    assert float(above.mean()) > 0.01
    assert float(beside.max()) < 1e-5
    assert float((changed - image).abs().max()) > 0.1


def test_motion_keeps_the_energy_and_the_middle_of_k_space() -> None:
    """So the head stays where it was: only lines after an event are of another place."""
    image = head(8)
    changed = artefacts.motion(image, draws(8, artefacts.MOTION_DRAWS), 0.04)
    assert torch.allclose((changed**2).sum((1, 2, 3)), (image**2).sum((1, 2, 3)), rtol=1e-4)
    weights = torch.arange(SIZE, dtype=torch.float32)
    centre = [(picture.sum(1) * weights).sum() / picture.sum() for picture in changed[:, 0]]
    was = (image[0, 0].sum(1) * weights).sum() / image[0, 0].sum()
    assert max(abs(float(found - was)) for found in centre) < 0.04 * SIZE / 2
