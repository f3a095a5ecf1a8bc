"""Random changes of training slices, a whole batch at once on its device.

What belongs to a patient's pose, to the protocol or to the coil is drawn once a unit: pose, contrast, bias field,
resolution and the level of noise. Noise itself is of every pixel; and motion is drawn for each slice, because slices
are excited at different times, so that a short movement spoils some and spares others.

Real air is noisy, so noise and ghosts appear in it, too. But an area of exact zeros was never measured (padding, a
stripped skull, a corner that the pose turned in) and stays zero, as no scanner or protocol fills it.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import torch
from torch.nn import functional

from pipeline.training_config import Augment, Motion
from pipeline.transfer import artefacts

#: Pixels across a square of zeros in whose middle nothing was measured; air that the window cut has smaller ones.
_EMPTY = 7
#: Brighter than air is in a prepared slice, whose window begins with the darkest of the head.
_AIR = 0.1


@dataclass(frozen=True)
class _Drawn:
    """Random numbers in 0..1, as many whatever the settings, so that one change does not alter the others' draws.

    Attributes:
        unit: (U, 14), columns by `_draw`.
        field: (U, artefacts.TERMS), of bias fields.
        slice: (N, 2 + artefacts.MOTION_DRAWS), of motion.
        seed: of the noise.
    """

    unit: torch.Tensor
    field: torch.Tensor
    slice: torch.Tensor
    seed: int


def augment(slices: torch.Tensor, owner: torch.Tensor, generator: torch.Generator, settings: Augment) -> torch.Tensor:
    """Slices as they could have come from another position, protocol or scanner.

    Args:
        slices: float32 (N, 1, H, W) in 0..1, on any device.
        owner: int64 (N,), the unit of each slice; best on the CPU, as a GPU would have to be waited for.
        generator: on the CPU; equal states give equal results on one kind of device.
        settings: what may happen; nothing by `Augment()`.

    Returns:
        float32 (N, 1, H, W) in 0..1; slices to which nothing happened as they were, to the bit.
    """
    owner = owner.cpu()
    drawn = _draw(int(owner.max()) + 1, len(slices), generator)
    signed = (drawn.unit * 2 - 1)[owner].to(slices.device)
    if settings.flip_chance or settings.rotation_deg or settings.zoom or settings.shift:
        slices = _posed(slices, signed, drawn.unit[:, 2][owner].to(slices.device) < settings.flip_chance, settings)
    measured = _near_signal(slices)
    if settings.contrast or settings.gamma or settings.brightness:
        slices = _contrasted(slices, signed, settings)
    slices = _acquired(slices, owner, drawn, settings)
    return torch.where(measured, slices, 0.0).clamp(0, 1)


def _draw(units: int, slices: int, generator: torch.Generator) -> _Drawn:
    """Columns of a unit: angle, zoom, flip, two shifts, contrast, gamma, brightness; chance and size of three."""
    return _Drawn(
        torch.rand(units, 14, generator=generator),
        torch.rand(units, artefacts.TERMS, generator=generator) * 2 - 1,
        torch.rand(slices, 2 + artefacts.MOTION_DRAWS, generator=generator),
        int(torch.randint(2**62, (), generator=generator)),
    )


def _posed(slices: torch.Tensor, signed: torch.Tensor, flipped: torch.Tensor, settings: Augment) -> torch.Tensor:
    """Flipped left to right, turned, scaled and shifted."""
    angle, zoom = signed[:, 0] * math.radians(settings.rotation_deg), torch.exp(signed[:, 1] * settings.zoom)
    flip = torch.where(flipped, -1.0, 1.0)
    cosine, sine = torch.cos(angle) * zoom, torch.sin(angle) * zoom
    across, down = signed[:, 3] * 2 * settings.shift, signed[:, 4] * 2 * settings.shift  # the grid is 2 wide
    theta = torch.stack(
        [torch.stack([cosine * flip, -sine, across], dim=1), torch.stack([sine * flip, cosine, down], dim=1)], dim=1
    )
    grid = functional.affine_grid(theta, list(slices.shape), align_corners=False)
    return functional.grid_sample(slices, grid, align_corners=False)


def _near_signal(slices: torch.Tensor) -> torch.Tensor:
    """bool (N, 1, H, W): not in the middle of a square of zeros."""
    near = slices > 0
    for _ in range(_EMPTY // 2):  # eight times as fast as max_pool2d
        for axis in (-2, -1):
            length, before = near.shape[axis], near
            near = before.clone()
            near.narrow(axis, 1, length - 1).logical_or_(before.narrow(axis, 0, length - 1))
            near.narrow(axis, 0, length - 1).logical_or_(before.narrow(axis, 1, length - 1))
    return near


def _contrasted(slices: torch.Tensor, signed: torch.Tensor, settings: Augment) -> torch.Tensor:
    """Another gamma (as MONAI's AdjustContrast), gain and brightness; it never turns brighter into darker."""
    gain, gamma, brightness = (
        signed[:, place].view(-1, 1, 1, 1) * size
        for place, size in ((5, settings.contrast), (6, settings.gamma), (7, settings.brightness))
    )
    step = brightness.clamp(max=0) + brightness.clamp(min=0) * (slices / _AIR).clamp(0, 1)  # air is never lit up
    return (slices.clamp(0, 1) ** torch.exp(gamma) * (1 + gain) + step).clamp(0, 1)


def _acquired(slices: torch.Tensor, owner: torch.Tensor, drawn: _Drawn, settings: Augment) -> torch.Tensor:
    """What happens from the coil to the magnitude image, in that order, to those that their chance hits."""
    slices, unit, on = slices.clone(), drawn.unit[owner], slices.device
    if settings.bias_field is not None:
        hit = _hit(unit[:, 8] < settings.bias_field.chance)
        log_gain, field = (unit[hit, 9] * settings.bias_field.log_gain).to(on), drawn.field[owner[hit]].to(on)
        _change(slices, hit, lambda chosen: artefacts.bias_field(chosen, field, log_gain))
    if settings.motion is not None:
        _move(slices, drawn.slice, settings.motion)
    if settings.gibbs is not None:
        for number in _hit(drawn.unit[:, 10] < settings.gibbs.chance).tolist():
            kept = 1 - float(drawn.unit[number, 11]) * (1 - settings.gibbs.resolution)
            _change(slices, _hit(owner == number), partial(artefacts.gibbs, resolution=kept))
    if settings.rician is not None:
        hit = _hit(unit[:, 12] < settings.rician.chance)
        sigma = (unit[hit, 13] * settings.rician.sigma).to(on)
        generator = torch.Generator(on).manual_seed(drawn.seed)
        _change(slices, hit, lambda chosen: artefacts.rician(chosen, sigma, generator))
    return slices


def _move(slices: torch.Tensor, drawn: torch.Tensor, settings: Motion) -> None:
    """Motion with the phase encoded along the rows of some and along the columns of others; changes `slices`."""
    moved, columns = drawn[:, 0] < settings.chance, drawn[:, 1] < 0.5
    for hit, phase in ((_hit(moved & ~columns), -2), (_hit(moved & columns), -1)):
        path = drawn[hit, 2:].to(slices.device)

        def move(chosen: torch.Tensor, path: torch.Tensor = path, phase: int = phase) -> torch.Tensor:
            return artefacts.motion(chosen.transpose(-2, phase), path, settings.shift).transpose(-2, phase)

        _change(slices, hit, move)


def _hit(chosen: torch.Tensor) -> torch.Tensor:
    """int64 (M,): the places where `chosen`, which is on the CPU, is true."""
    return torch.nonzero(chosen)[:, 0]


def _change(slices: torch.Tensor, hit: torch.Tensor, change: Callable[[torch.Tensor], torch.Tensor]) -> None:
    """Change those slices, in place."""
    if len(hit):
        places = hit.to(slices.device)
        slices.index_copy_(0, places, change(slices[places]))
